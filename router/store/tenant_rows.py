"""Rows of tenants and keys: found, and turned into what administrators see."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from router.domain.errors import UnknownRecordError
from router.domain.tenants import KeyDescription, Source, Tenant
from router.store.key_directory import scopes_of
from router.store.tables import keys, tenants


def key_rows(connection: Connection, tenant: str, name: str) -> Sequence[Row[Any]]:
    """Values of the key of that name: one, or more while old ones are in their grace."""
    query = select(keys).where(
        keys.c.tenant == tenant, keys.c.name == name, keys.c.source == Source.API
    )
    return connection.execute(query).all()


def require_keys(connection: Connection, tenant: str, name: str) -> Sequence[Row[Any]]:
    """The same; UnknownRecordError where there is none."""
    rows = key_rows(connection, tenant, name)
    if not rows:
        raise UnknownRecordError(f"tenant {tenant} has no key {name}")
    return rows


def current(rows: Sequence[Row[Any]]) -> Row[Any]:
    """The row whose value was not replaced; there is one, for writers stand in line."""
    return next(row for row in rows if row.rotated_s is None)


def tenant_row(connection: Connection, name: str) -> Row[Any] | None:
    """The tenant of that name, if there is one."""
    query = select(tenants).where(tenants.c.name == name, tenants.c.source == Source.API)
    return connection.execute(query).one_or_none()


def require_tenant(connection: Connection, name: str) -> Row[Any]:
    """The same; UnknownRecordError where there is none."""
    row = tenant_row(connection, name)
    if row is None:
        raise UnknownRecordError(f"there is no tenant {name}")
    return row


def described_tenant(row: Row[Any]) -> Tenant:
    """A row as administrators see it."""
    return Tenant(
        name=row.name,
        source=Source(row.source),
        tags=json.loads(row.tags),
        created_s=row.created_s,
        disabled_s=row.disabled_s,
        is_disabled=row.disabled_s is not None,
    )


def described_key(row: Row[Any]) -> KeyDescription:
    """A row as administrators see it: without the hash."""
    return KeyDescription(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        source=Source(row.source),
        scopes=scopes_of(row.scopes),
        tags=json.loads(row.tags),
        created_s=row.created_s,
        expires_s=row.expires_s,
        disabled_s=row.disabled_s,
        is_disabled=row.disabled_s is not None,
        rotated_s=row.rotated_s,
        grace_until_s=row.grace_until_s,
    )


def as_json(value: object) -> str:
    """Text of a column that holds a list or an object."""
    return json.dumps(value, sort_keys=True)
