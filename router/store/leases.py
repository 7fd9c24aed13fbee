"""Leases: slices of hard quotas that one process may spend alone.

For every window spent <= leased <= limit holds after each statement, whoever dies in between.
Every operation takes a batch, is one transaction, and may be repeated: after an error nobody knows
whether it happened. Rows are locked in one order everywhere: windows, sorted, then leases.
"""

from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import Connection, Engine, TextClause, text

from router.domain.quotas import Ask, Grant
from router.store import lease_queries as queries
from router.store.engine import is_sqlite, reading, transaction

# A refusal is news for this long, clocks of several machines that differ by less included.
WANTED_S = 2.0


class LeaseBook:
    """The leases of one process, `holder`; called on threads. All raise StoreUnavailableError."""

    def __init__(self, engine: Engine, holder: str) -> None:
        self._engine = engine
        self._holder = holder
        self._is_sqlite = is_sqlite(engine)

    def take(self, asks: Sequence[Ask], now_s: float) -> list[Grant]:
        """The answer to each ask, which are for different windows."""
        batch = {"batch": _asks_json(asks), "now_s": now_s, "news_s": now_s - WANTED_S}
        with transaction(self._engine) as connection:
            connection.execute(self._sql(queries.OPEN_WINDOWS), batch)
            self._lock(connection, queries.LOCK_WINDOWS, batch)
            granted = {
                (row.quota, row.start_s): Grant(row.last_grant, row.leased)
                for row in connection.execute(self._sql(queries.TAKE), batch)
            }
            self._hold(connection, asks, granted)
            refused = [ask for ask in asks if _place(ask) not in granted]
            if refused:
                granted |= self._refuse(connection, refused, now_s)
        return [_with_left(granted[_place(ask)], ask.quota.limit) for ask in asks]

    def give_back(self, keeps: Mapping[int, int]) -> None:
        """Reduce leases, by number, to what is kept of them; those not in the store are none."""
        batch = {"batch": orjson.dumps(list(keeps.items())).decode(), "holder": self._holder}
        with transaction(self._engine) as connection:
            self._lock(connection, queries.LOCK_KEPT, batch)
            connection.execute(self._sql(queries.GIVE_BACK), batch)
            connection.execute(self._sql(queries.KEEP), batch)

    def forget(self, keeps: Mapping[int, int]) -> list[int]:
        """Delete those leases, given back already, that the ledger is done with; their numbers."""
        batch = {"batch": orjson.dumps(list(keeps.items())).decode(), "holder": self._holder}
        with transaction(self._engine) as connection:
            return list(connection.execute(self._sql(queries.FORGET), batch).scalars())

    def wanted(self, now_s: float) -> list[tuple[str, int]]:
        """Windows (quota, start_s) that somebody was refused a moment ago."""
        query = text("SELECT quota, start_s FROM quota_windows WHERE wanted_s > :news_s")
        with transaction(reading(self._engine)) as connection:
            rows = connection.execute(query, {"news_s": now_s - WANTED_S})
            return [(row.quota, row.start_s) for row in rows]

    def bury(self, dead: str, *, is_proven: bool) -> None:
        """End the leases of a process that is gone and whose spool is in the ledger.

        What it did not spend goes back, but only where that is proven.
        """
        holder = {"holder": dead}
        with transaction(self._engine) as connection:
            if is_proven:
                self._lock(connection, queries.LOCK_OF_HOLDER, holder)
                connection.execute(text(queries.BURY), holder)
            connection.execute(text("DELETE FROM leases WHERE holder = :holder"), holder)
            connection.execute(text("DELETE FROM holders WHERE holder = :holder"), holder)

    def _hold(
        self,
        connection: Connection,
        asks: Sequence[Ask],
        granted: Mapping[tuple[str, int], Grant],
    ) -> None:
        rows = [
            (ask.number, *_place(ask), granted[_place(ask)].amount)
            for ask in asks
            if _place(ask) in granted
        ]
        if rows:
            batch = {"batch": orjson.dumps(rows).decode(), "holder": self._holder}
            connection.execute(self._sql(queries.HOLD), batch)

    def _refuse(
        self, connection: Connection, asks: Sequence[Ask], now_s: float
    ) -> dict[tuple[str, int], Grant]:
        batch = {"batch": _asks_json(asks), "now_s": now_s, "holder": self._holder}
        leased = connection.execute(self._sql(queries.REFUSED), batch).all()
        elsewhere = {
            (row.quota, row.start_s): int(row.amount)
            for row in connection.execute(self._sql(queries.ELSEWHERE), batch)
        }
        return {
            (row.quota, row.start_s): Grant(
                None, row.leased, elsewhere.get((row.quota, row.start_s), 0)
            )
            for row in leased
        }

    def _lock(self, connection: Connection, query: str, batch: Mapping[str, object]) -> None:
        """PostgreSQL locks row by row; SQLite's writers stand in one queue anyway."""
        if not self._is_sqlite:
            connection.execute(self._sql(query), batch)

    def _sql(self, query: str) -> TextClause:
        return text(query.format(each=each_json(self._is_sqlite)))


def each_json(on_sqlite: bool) -> str:
    """A table of the elements, each `value`, of the JSON list `:batch`."""
    return "json_each(:batch)" if on_sqlite else "json_array_elements(CAST(:batch AS json))"


def _asks_json(asks: Sequence[Ask]) -> str:
    return orjson.dumps(
        [
            (
                ask.number,
                ask.quota.id,
                ask.span.start_s,
                ask.span.end_s,
                ask.quota.limit,
                ask.need,
                ask.firm,
                ask.extra,
            )
            for ask in asks
        ]
    ).decode()


def _place(ask: Ask) -> tuple[str, int]:
    return ask.quota.id, ask.span.start_s


def _with_left(grant: Grant, limit: int) -> Grant:
    """`left` carried what is leased until here, where the limit is known."""
    return Grant(grant.amount, max(0, limit - grant.left), grant.elsewhere)
