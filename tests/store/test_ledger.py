"""The ledger on both databases: every record once, and every figure made of them."""

from typing import Any

from sqlalchemy import Engine, select

from router.domain.quotas import Ask, Quota, Span
from router.domain.usage import Charge
from router.store.leases import LeaseBook
from router.store.ledger import Ledger
from router.store.tables import leases, quota_windows, usage, usage_rollups
from tests.store.records import record

NOW_S = 1_700_000_001.0
HOUR_S, DAY_S = 1_699_999_200, 1_699_920_000


def rows(engine: Engine, table: Any, *columns: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [
            tuple(row) for row in connection.execute(select(*(table.c[name] for name in columns)))
        ]


def test_a_record_is_kept_as_it_was(engine: Engine) -> None:
    """All fields survive the way through JSON, large amounts and unknown prices included."""
    large = 2**62 + 1
    Ledger(engine).write(
        "h", 0, 10, [record("a", cost_nano_usd=large), record("b", cost_nano_usd=None)], NOW_S
    )
    with engine.connect() as connection:
        first, second = connection.execute(select(usage).order_by(usage.c.record)).mappings()
    assert dict(first) == {
        "record": "a", "request_id": "request-a", "time_s": 1_700_000_000.5, "tenant": "acme",
        "key_name": "first", "route": "r", "space": "s", "inputs": 1, "target": "t",
        "status": "ok", "tokens": 3, "cost_nano_usd": large, "cached_tokens": 0, "attempts": 1,
        "latency_us": 1500, "trace_id": "",
    }  # fmt: skip
    assert second["cost_nano_usd"] is None


def test_the_same_stretch_is_written_once(engine: Engine) -> None:
    """Whoever replays a spool after a crash, or after an answer that was lost, changes nothing."""
    ledger = Ledger(engine)
    assert ledger.write("h", 0, 10, [record("a")], NOW_S) == 10
    assert ledger.write("h", 0, 10, [record("a")], NOW_S) == 10
    assert ledger.write("h", 0, 20, [record("a"), record("b")], NOW_S) == 10
    assert ledger.write("h", 10, 20, [record("b")], NOW_S) == 20
    assert sorted(rows(engine, usage, "record")) == [("a",), ("b",)]
    assert sorted(rows(engine, usage_rollups, "period", "requests")) == [("day", 2), ("hour", 2)]


def test_roll_ups_add_up_by_hour_and_day(engine: Engine) -> None:
    """Sums by every name, over several writes; a cost that is unknown is counted as such."""
    ledger = Ledger(engine)
    ledger.write("h", 0, 10, [record("a"), record("b", cost_nano_usd=None)], NOW_S)
    ledger.write("h", 10, 20, [record("c"), record("d", time_s=NOW_S + 7200)], NOW_S)
    found = rows(
        engine,
        usage_rollups,
        "period",
        "start_s",
        "requests",
        "tokens",
        "cost_nano_usd",
        "unpriced",
    )
    assert sorted(found) == [
        ("day", DAY_S, 3, 9, 120, 1),
        ("day", DAY_S + 86_400, 1, 3, 60, 0),
        ("hour", HOUR_S, 3, 9, 120, 1),
        ("hour", HOUR_S + 7200, 1, 3, 60, 0),
    ]


def test_what_was_spent_reaches_the_window_and_the_lease(engine: Engine) -> None:
    """A hard quota's window counts it as spent of what was leased."""
    quota, span = Quota("tenant", "acme", "usd", 1000, "month"), Span(0, 100)
    LeaseBook(engine, "h").take([Ask(7, quota, span, 200, 200, 0)], NOW_S)
    charge = Charge(7, 60, quota.id, 0, 100, 1000)
    Ledger(engine).write("h", 0, 10, [record("a", charge), record("b", charge)], NOW_S)
    assert rows(engine, quota_windows, "leased", "spent") == [(200, 120)]
    assert rows(engine, leases, "number", "granted", "spent") == [(7, 200, 120)]


def test_what_only_counts_needs_no_lease(engine: Engine) -> None:
    """Soft and shadow quotas are spent without being leased first, beyond their limit too."""
    charge = Charge(None, 60, "soft", 0, None, 100)
    ledger = Ledger(engine)
    ledger.write("h", 0, 10, [record("a", charge)], NOW_S)
    ledger.write("h", 10, 20, [record("b", charge)], NOW_S)
    assert rows(engine, quota_windows, "quota", "leased", "spent") == [("soft", 120, 120)]


def test_what_is_old_is_forgotten(engine: Engine) -> None:
    """Records first, roll-ups by hour later, those by day last; a window with a lease stays."""
    quota, span = Quota("tenant", "acme", "usd", 1000, "month"), Span(0, 100)
    held, ended = Charge(7, 60, quota.id, 0, 100, 1000), Charge(None, 60, "soft", 0, 100, 100)
    LeaseBook(engine, "h").take([Ask(7, quota, span, 200, 200, 0)], NOW_S)
    ledger = Ledger(engine)
    ledger.write("h", 0, 10, [record("a", held, ended), record("b", time_s=NOW_S + 9000)], NOW_S)
    assert ledger.forget_before(NOW_S, NOW_S - 9000, NOW_S - 200_000, NOW_S) == 1
    assert rows(engine, usage, "record") == [("b",)]
    assert len(rows(engine, usage_rollups, "period")) == 4
    assert rows(engine, quota_windows, "quota") == [(quota.id,)]
    ledger.forget_before(NOW_S, NOW_S, NOW_S - 200_000, NOW_S)
    assert sorted(rows(engine, usage_rollups, "period")) == [("day",), ("day",), ("hour",)]
