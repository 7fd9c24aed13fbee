"""Tenants and keys that were made through the admin API or the CLI; every change is announced.

A transaction that changes anything takes the counter's row first. So writers stand in line, the
order of revisions is the order of commits, and no process that polls can miss one in between.
"""

import secrets
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, tuple_, update

from router.domain.errors import InvalidInputError, RecordExistsError
from router.domain.tenants import (
    KeyChange,
    KeyDescription,
    NewKey,
    Source,
    Tenant,
    TenantChange,
)
from router.store.engine import reading, transaction
from router.store.key_directory import COUNTER
from router.store.tables import change_counters, key_changes, keys, tenants
from router.store.tenant_rows import (
    as_json,
    current,
    described_key,
    described_tenant,
    key_rows,
    require_keys,
    require_tenant,
    tenant_row,
)

# A process that sleeps through more forgets all it knows, which is as good.
_KEPT_CHANGES = 10_000
_API = Source.API


class SqlTenantStore:
    """Makes, lists and changes tenants and keys. Raises StoreUnavailableError everywhere."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create_tenant(self, name: str, tags: dict[str, str], now_s: float) -> Tenant:
        """A new tenant; RecordExistsError."""
        with transaction(self._engine) as connection:
            _announce(connection, tenant=name)
            if tenant_row(connection, name) is not None:
                raise RecordExistsError(f"there is a tenant {name} already", param="name")
            row = {"name": name, "tags": as_json(tags), "source": _API, "created_s": now_s}
            connection.execute(insert(tenants).values(**row, changed_s=now_s))
        return Tenant(name=name, source=_API, tags=tags, created_s=now_s)

    def tenants(self, after: str, limit: int) -> list[Tenant]:
        """Tenants in the order of their names, those after a name."""
        query = (
            select(tenants)
            .where(tenants.c.name > after, tenants.c.source == _API)
            .order_by(tenants.c.name)
            .limit(limit)
        )
        with transaction(reading(self._engine)) as connection:
            return [described_tenant(row) for row in connection.execute(query)]

    def tenant(self, name: str) -> Tenant:
        """One tenant; UnknownRecordError."""
        with transaction(reading(self._engine)) as connection:
            return described_tenant(require_tenant(connection, name))

    def change_tenant(self, name: str, change: TenantChange, now_s: float) -> Tenant:
        """The tenant as it is now; UnknownRecordError."""
        values: dict[str, Any] = {"changed_s": now_s}
        if change.is_disabled is not None:
            values["disabled_s"] = now_s if change.is_disabled else None
        if change.tags is not None:
            values["tags"] = as_json(change.tags)
        with transaction(self._engine) as connection:
            _announce(connection, tenant=name)
            require_tenant(connection, name)
            connection.execute(update(tenants).where(tenants.c.name == name).values(**values))
            return described_tenant(require_tenant(connection, name))

    def create_key(self, new: NewKey, sha256: str, now_s: float) -> KeyDescription:
        """A new key, known by the SHA-256 of its value; UnknownRecordError, RecordExistsError."""
        with transaction(self._engine) as connection:
            _announce(connection, sha256=sha256)
            require_tenant(connection, new.tenant)
            if key_rows(connection, new.tenant, new.name):
                raise RecordExistsError(
                    f"tenant {new.tenant} has a key {new.name} already", param="name"
                )
            return _insert(connection, new, sha256, now_s)

    def keys(self, tenant: str, after: str, limit: int) -> list[KeyDescription]:
        """A tenant's keys in the order of their names, those after the one with an id."""
        query = select(keys).where(keys.c.tenant == tenant, keys.c.source == _API)
        if after:
            place = select(keys.c.name, keys.c.id).where(keys.c.id == after)
            query = query.where(tuple_(keys.c.name, keys.c.id) > place.scalar_subquery())
        with transaction(reading(self._engine)) as connection:
            require_tenant(connection, tenant)
            rows = connection.execute(query.order_by(keys.c.name, keys.c.id).limit(limit))
            return [described_key(row) for row in rows]

    def change_key(self, tenant: str, name: str, change: KeyChange, now_s: float) -> KeyDescription:
        """The key as it is now, an old value in its grace included; UnknownRecordError."""
        values: dict[str, Any] = {"changed_s": now_s}
        if change.is_disabled is not None:
            values["disabled_s"] = now_s if change.is_disabled else None
        if change.scopes is not None:
            values["scopes"] = as_json(sorted(change.scopes))
        if change.tags is not None:
            values["tags"] = as_json(change.tags)
        if change.expires_s is not None or change.never_expires:
            values["expires_s"] = change.expires_s
        with transaction(self._engine) as connection:
            _lock(connection)
            rows = require_keys(connection, tenant, name)
            for row in rows:
                _announce(connection, sha256=row.sha256)
            mine = (keys.c.tenant == tenant) & (keys.c.name == name)
            connection.execute(update(keys).where(mine).values(**values))
            return described_key(current(require_keys(connection, tenant, name)))

    def rotate_key(
        self, tenant: str, name: str, sha256: str, grace_s: float, now_s: float
    ) -> KeyDescription:
        """The key with a new value; the old one goes on for `grace_s` seconds.

        Values whose grace is over are deleted. Raises UnknownRecordError, InvalidInputError.
        """
        with transaction(self._engine) as connection:
            _announce(connection, sha256=sha256)
            old = current(require_keys(connection, tenant, name))
            if old.disabled_s is not None:
                raise InvalidInputError(f"key {name} is disabled: enable it, or make another")
            _announce(connection, sha256=old.sha256)
            _retire(connection, old, grace_s, now_s)
            described = described_key(old)
            new = NewKey(tenant, name, described.scopes, described.tags, old.expires_s)
            return _insert(connection, new, sha256, now_s)


def _lock(connection: Connection) -> None:
    """Stand in line with the other writers."""
    counter = update(change_counters).where(change_counters.c.name == COUNTER)
    connection.execute(counter.values(value=change_counters.c.value))


def _announce(
    connection: Connection, *, sha256: str | None = None, tenant: str | None = None
) -> None:
    """Count one change up, and say what it is of."""
    counter = update(change_counters).where(change_counters.c.name == COUNTER)
    revision = connection.execute(
        counter.values(value=change_counters.c.value + 1).returning(change_counters.c.value)
    ).scalar_one()
    connection.execute(insert(key_changes).values(revision=revision, sha256=sha256, tenant=tenant))
    old = key_changes.c.revision <= revision - _KEPT_CHANGES
    connection.execute(delete(key_changes).where(old))


def _insert(connection: Connection, new: NewKey, sha256: str, now_s: float) -> KeyDescription:
    row = {
        "id": secrets.token_hex(16),
        "tenant": new.tenant,
        "name": new.name,
        "sha256": sha256,
        "scopes": as_json(sorted(new.scopes)),
        "tags": as_json(new.tags),
        "source": _API,
        "created_s": now_s,
        "expires_s": new.expires_s,
        "changed_s": now_s,
    }
    connection.execute(insert(keys).values(**row))
    stored = connection.execute(select(keys).where(keys.c.id == row["id"])).one()
    return described_key(stored)


def _retire(connection: Connection, old: Row[Any], grace_s: float, now_s: float) -> None:
    mine = (keys.c.tenant == old.tenant) & (keys.c.name == old.name)
    connection.execute(delete(keys).where(mine, keys.c.grace_until_s <= now_s))
    times = {"rotated_s": now_s, "grace_until_s": now_s + grace_s, "changed_s": now_s}
    connection.execute(update(keys).where(keys.c.id == old.id).values(**times))
