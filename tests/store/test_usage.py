"""Reports of usage, on both databases."""

import pytest
from sqlalchemy import Engine

from router.domain.reports import Dimension, UsageQuestion
from router.store.ledger import Ledger
from router.store.usage import UsageReports
from tests.store.records import record

DAY_S = 1_699_920_000  # 2023-11-14
DAYS = (DAY_S, DAY_S + 2 * 86_400)


@pytest.fixture
def reports(engine: Engine) -> UsageReports:
    """Two tenants on two days; acme's second key failed once."""
    records = [
        record("1", time_s=DAY_S + 10.5),
        record("2", time_s=DAY_S + 3700.0),
        record("3", time_s=DAY_S + 86_410.0, key_name="second"),
        record("4", time_s=DAY_S + 10.0, tenant="zenith", cost_nano_usd=None, target="other"),
        record("5", time_s=DAY_S + 20.0, key_name="second", status="upstream_error", tokens=0,
               cost_nano_usd=0, target=""),
    ]  # fmt: skip
    Ledger(engine).write("h", 0, 10, records, float(DAY_S))
    return UsageReports(engine)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        pytest.param((), [((), 5, 12, 180, 1)], id="all"),
        pytest.param(
            ("tenant",), [(("acme",), 4, 9, 180, 0), (("zenith",), 1, 3, 0, 1)], id="tenant"
        ),
        pytest.param(
            ("key", "status"),
            [
                (("first", "ok"), 3, 9, 120, 1),
                (("second", "ok"), 1, 3, 60, 0),
                (("second", "upstream_error"), 1, 0, 0, 0),
            ],
            id="key and status",
        ),
        pytest.param(
            ("day",),
            [(("2023-11-14T00:00Z",), 4, 9, 120, 1), (("2023-11-15T00:00Z",), 1, 3, 60, 0)],
            id="day",
        ),
        pytest.param(
            ("hour", "tenant"),
            [
                (("2023-11-14T00:00Z", "acme"), 2, 3, 60, 0),
                (("2023-11-14T00:00Z", "zenith"), 1, 3, 0, 1),
                (("2023-11-14T01:00Z", "acme"), 1, 3, 60, 0),
                (("2023-11-15T00:00Z", "acme"), 1, 3, 60, 0),
            ],
            id="hour and tenant",
        ),
    ],
)
def test_usage_adds_up_by_any_dimensions(
    reports: UsageReports, by: tuple[Dimension, ...], expected: list[object]
) -> None:
    """Requests, tokens, cost and what had no price, by time first, else by cost."""
    sums = reports.sums(UsageQuestion(by, *DAYS))
    assert [(s.names, s.requests, s.tokens, s.cost_nano_usd, s.unpriced) for s in sums] == expected


def test_only_what_is_asked_for_counts(reports: UsageReports) -> None:
    """Names and times narrow it down; an hour counts whole."""
    question = UsageQuestion(("key",), DAY_S + 1800, DAY_S + 3601, {"tenant": "acme"})
    assert [(s.names, s.requests) for s in reports.sums(question)] == [
        (("first",), 2),
        (("second",), 1),
    ]


def test_nothing_is_no_group(reports: UsageReports) -> None:
    """Not one group of zeros."""
    assert reports.sums(UsageQuestion((), 0, 3600)) == []
