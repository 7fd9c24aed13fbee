"""What authentication asks the store: keys by their hash, tenants by name, and what has changed."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, TypeVar

from sqlalchemy import Engine, Row, Select, func, select

from router.domain.tenants import Source
from router.domain.types import Caller, KeyChanges, KnownKey, Scope
from router.store.engine import reading, transaction
from router.store.tables import change_counters, key_changes, keys, tenants

Answer = TypeVar("Answer")

COUNTER = "keys"
# More changes at once, as after a long sleep, are not told one by one.
_MOST_CHANGES = 5000
# Threads that hang in a dead connection end with the statement's own timeout; others go on.
_THREADS = 16


class SqlKeyDirectory:
    """A KeyDirectory on SQLite or PostgreSQL; its queries run on threads of their own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = reading(engine)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="keys")

    async def find_keys(self, digests: Sequence[bytes]) -> Mapping[bytes, KnownKey]:
        """Keys by SHA-256 digest, in one indexed query; StoreUnavailableError."""
        rows = await self._on_thread(lambda: self._rows(find_keys_query(digests)))
        return {bytes.fromhex(row.sha256): _known(row) for row in rows}

    async def find_tenants(self, names: Sequence[str]) -> Mapping[str, bool]:
        """Whether each tenant that there is may call, in one indexed query."""
        query = select(tenants.c.name, tenants.c.disabled_s).where(
            tenants.c.name.in_(names), tenants.c.source == Source.API
        )
        rows = await self._on_thread(lambda: self._rows(query))
        return {row.name: row.disabled_s is None for row in rows}

    async def changes(self, since: int | None) -> KeyChanges:
        """What has changed after a revision, in one indexed query; StoreUnavailableError."""
        rows = await self._on_thread(lambda: self._rows(changes_query(since or 0)))
        return _changes(rows, since)

    async def next_expiry_s(self, now_s: float) -> float | None:
        """When the next of the keys that still hold will end; None where none will."""
        ends = (keys.c.expires_s, keys.c.grace_until_s)
        still = keys.c.disabled_s.is_(None)
        queries = [select(func.min(end).label("end_s")).where(end > now_s, still) for end in ends]
        rows = [await self._on_thread(partial(self._rows, query)) for query in queries]
        return min((row[0].end_s for row in rows if row[0].end_s is not None), default=None)

    def close(self) -> None:
        """Let the threads go; queries under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with transaction(self._engine) as connection:
            return connection.execute(query).all()

    async def _on_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def find_keys_query(digests: Sequence[bytes]) -> Select[Any]:
    """Keys of these digests and the state of their tenants: one probe of an index each."""
    return (
        select(
            keys.c.sha256,
            keys.c.tenant,
            keys.c.name,
            keys.c.scopes,
            keys.c.expires_s,
            keys.c.grace_until_s,
            keys.c.disabled_s,
            tenants.c.disabled_s.label("tenant_disabled_s"),
        )
        .join(tenants, tenants.c.name == keys.c.tenant)
        .where(keys.c.sha256.in_([digest.hex() for digest in digests]))
    )


def changes_query(since: int) -> Select[Any]:
    """The counter, and beside it the changes after a revision, oldest first."""
    return (
        select(
            change_counters.c.value,
            key_changes.c.revision,
            key_changes.c.sha256,
            key_changes.c.tenant,
        )
        .select_from(change_counters)
        .outerjoin(key_changes, key_changes.c.revision > since)
        .where(change_counters.c.name == COUNTER)
        .order_by(key_changes.c.revision)
        .limit(_MOST_CHANGES)
    )


def _changes(rows: Sequence[Row[Any]], since: int | None) -> KeyChanges:
    revision = int(rows[0].value) if rows else 0
    news = [row for row in rows if row.revision is not None]
    # The counter behind us is another database, or an older copy of it.
    is_continued = since is not None and revision == since + len(news)
    if not is_continued:
        return KeyChanges(revision, is_complete=False)
    return KeyChanges(
        revision=revision,
        digests=tuple(bytes.fromhex(row.sha256) for row in news if row.sha256 is not None),
        tenants=tuple(row.tenant for row in news if row.tenant is not None),
    )


def _known(row: Row[Any]) -> KnownKey:
    ends = [end for end in (row.expires_s, row.grace_until_s) if end is not None]
    return KnownKey(
        caller=Caller(row.tenant, row.name, scopes_of(row.scopes)),
        expires_s=min(ends, default=None),
        is_disabled=row.disabled_s is not None or row.tenant_disabled_s is not None,
    )


# A handful of lists for all keys: equal ones are one object, or they would fill the memory.
@lru_cache(maxsize=64)
def scopes_of(text: str) -> frozenset[Scope]:
    """Scopes of a JSON list; those of a newer release mean nothing to this one."""
    known = set(Scope)
    return frozenset(Scope(word) for word in json.loads(text) if word in known)
