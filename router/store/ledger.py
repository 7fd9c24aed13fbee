"""The ledger: usage records, their roll-ups, and what they spent of each quota's window.

Records arrive as JSON, as the spool holds them, and the database takes them apart: per record that
costs the router next to nothing. The layout of a record is `domain.usage.UsageRecord`'s.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, select, text, tuple_

from router.store.engine import is_sqlite, reading, transaction
from router.store.leases import each_json
from router.store.tables import quota_windows

_DAY_S = 86_400

_RECORDS = """
  SELECT e.value ->> 0 AS record, e.value ->> 1 AS request_id,
         CAST(e.value ->> 2 AS DOUBLE PRECISION) AS time_s, e.value ->> 3 AS tenant,
         e.value ->> 4 AS key_name, e.value ->> 5 AS route, e.value ->> 6 AS space,
         CAST(e.value ->> 7 AS BIGINT) AS inputs, e.value ->> 8 AS target,
         e.value ->> 9 AS status, CAST(e.value ->> 10 AS BIGINT) AS tokens,
         CAST(e.value ->> 11 AS BIGINT) AS cost_nano_usd,
         CAST(e.value ->> 12 AS BIGINT) AS cached_tokens,
         CAST(e.value ->> 13 AS BIGINT) AS attempts,
         CAST(e.value ->> 14 AS BIGINT) AS latency_us, e.value ->> 15 AS trace_id
  FROM {each} AS e"""

# The spool's position makes writing exactly-once: it moves in the transaction that it stands for.
_REGISTER = """
INSERT INTO holders (holder, seen_s) VALUES (:holder, :now_s) ON CONFLICT (holder) DO NOTHING"""
_ADVANCE = """
UPDATE holders SET position = :after, seen_s = :now_s
WHERE holder = :holder AND position = :before"""

_INSERT = f"""
INSERT INTO usage (record, request_id, time_s, tenant, key_name, route, space, inputs, target,
                   status, tokens, cost_nano_usd, cached_tokens, attempts, latency_us, trace_id)
SELECT * FROM ({_RECORDS}) AS r"""

_GROUP = "tenant, key_name, route, target, space, status"
_ROLL_UP = f"""
INSERT INTO usage_rollups (period, start_s, {_GROUP}, requests, inputs, tokens, cost_nano_usd,
                           unpriced, cached_tokens, attempts, latency_us)
SELECT period, CAST(time_s AS BIGINT) / length_s * length_s AS begin_s, {_GROUP}, COUNT(*),
       SUM(inputs), SUM(tokens), COALESCE(SUM(cost_nano_usd), 0),
       SUM(CASE WHEN cost_nano_usd IS NULL THEN 1 ELSE 0 END), SUM(cached_tokens), SUM(attempts),
       SUM(latency_us)
FROM (SELECT r.*, p.period, p.length_s FROM ({_RECORDS}) AS r
      CROSS JOIN (SELECT 'hour' AS period, 3600 AS length_s
                  UNION ALL SELECT 'day', {_DAY_S}) AS p) AS o
GROUP BY period, begin_s, {_GROUP} ORDER BY period, begin_s, {_GROUP}
ON CONFLICT (period, start_s, {_GROUP}) DO UPDATE SET
  requests = usage_rollups.requests + excluded.requests,
  inputs = usage_rollups.inputs + excluded.inputs,
  tokens = usage_rollups.tokens + excluded.tokens,
  cost_nano_usd = usage_rollups.cost_nano_usd + excluded.cost_nano_usd,
  unpriced = usage_rollups.unpriced + excluded.unpriced,
  cached_tokens = usage_rollups.cached_tokens + excluded.cached_tokens,
  attempts = usage_rollups.attempts + excluded.attempts,
  latency_us = usage_rollups.latency_us + excluded.latency_us"""

_CHARGES = """
  SELECT CAST(c.value ->> 0 AS BIGINT) AS number, CAST(c.value ->> 1 AS BIGINT) AS amount,
         c.value ->> 2 AS quota, CAST(c.value ->> 3 AS BIGINT) AS start_s,
         CAST(c.value ->> 4 AS BIGINT) AS end_s, CAST(c.value ->> 5 AS BIGINT) AS most
  FROM {each} AS e, {charges} AS c"""

# Without a lease (soft and shadow quotas) nothing was counted as leased before it was spent.
_SPEND = f"""
INSERT INTO quota_windows (quota, start_s, end_s, limit_amount, spent, leased)
SELECT quota, start_s, MAX(end_s), MAX(most), SUM(amount),
       SUM(CASE WHEN number IS NULL THEN amount ELSE 0 END)
FROM ({_CHARGES}) AS c GROUP BY quota, start_s ORDER BY quota, start_s
ON CONFLICT (quota, start_s) DO UPDATE SET
  spent = quota_windows.spent + excluded.spent, leased = quota_windows.leased + excluded.leased"""

_SPEND_LEASES = f"""
UPDATE leases SET spent = leases.spent + s.amount
FROM (SELECT number, SUM(amount) AS amount FROM ({_CHARGES}) AS c GROUP BY number) AS s
WHERE leases.holder = :holder AND leases.number = s.number"""


class Ledger:
    """Writes what spools hold. All raise StoreUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = is_sqlite(engine)

    def write(
        self, holder: str, before: int, after: int, records: Sequence[bytes], now_s: float
    ) -> int:
        """Add the records of a spool's stretch [before, after), once; where the spool stands now.

        Somewhere else than `after`: nothing was written, the ledger knew the stretch already.
        """
        batch = {"batch": (b"[%b]" % b",".join(records)).decode()}
        names = {"holder": holder, "before": before, "after": after, "now_s": now_s}
        with transaction(self._engine) as connection:
            connection.execute(text(_REGISTER), names)
            if connection.execute(text(_ADVANCE), names).rowcount != 1:
                return self._position(connection, holder)
            if records:
                for query in (_INSERT, _ROLL_UP, _SPEND, _SPEND_LEASES):
                    connection.execute(text(self._sql(query)), batch | {"holder": holder})
        return after

    def position(self, holder: str) -> int:
        """How far the holder's spool is in the ledger."""
        with transaction(self._engine) as connection:
            return self._position(connection, holder)

    def spent(self, windows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """What is spent of windows (quota's id, start_s), those that there are."""
        table = quota_windows.c
        query = select(table.quota, table.start_s, table.spent)
        query = query.where(tuple_(table.quota, table.start_s).in_(windows))
        with transaction(reading(self._engine)) as connection:
            return {(row.quota, row.start_s): row.spent for row in connection.execute(query)}

    def forget_before(self, usage_s: float, hours_s: float, days_s: float, now_s: float) -> int:
        """Delete records, roll-ups and windows that are older; the number of records deleted."""
        times = {"usage_s": usage_s, "hours_s": hours_s, "days_s": days_s, "now_s": now_s}
        with transaction(self._engine) as connection:
            gone = connection.execute(text("DELETE FROM usage WHERE time_s < :usage_s"), times)
            for query in _FORGETTING:
                connection.execute(text(query), times)
            return int(gone.rowcount)

    def _position(self, connection: Connection, holder: str) -> int:
        query = text("SELECT position FROM holders WHERE holder = :holder")
        return int(connection.execute(query, {"holder": holder}).scalar() or 0)

    def _sql(self, query: str) -> str:
        charges = (
            "json_each(e.value -> 16)" if self._is_sqlite else "json_array_elements(e.value -> 16)"
        )
        return query.format(each=each_json(self._is_sqlite), charges=charges)


_FORGETTING = (
    "DELETE FROM usage_rollups WHERE period = 'hour' AND start_s < :hours_s",
    "DELETE FROM usage_rollups WHERE period = 'day' AND start_s < :days_s",
    # A window stays while a lease of it is out, however long ago it ended.
    """DELETE FROM quota_windows WHERE end_s < :hours_s AND NOT EXISTS (
         SELECT 1 FROM leases AS l
         WHERE l.quota = quota_windows.quota AND l.start_s = quota_windows.start_s)""",
    "DELETE FROM quotas WHERE removed_s < :now_s - 86400",
)
