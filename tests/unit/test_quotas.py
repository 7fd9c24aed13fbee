"""Windows, prices and the arithmetic of a lease."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.quotas import Quota, Span, Window
from router.policy.pricing import cost_nano_usd, dearest, usd
from router.policy.quotas import Appetite, Holding
from router.policy.windows import span_of

QUOTA = Quota("tenant", "acme", "tokens", 100, "day")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        pytest.param("minute", "2024-02-29T23:59", "2024-03-01T00:00", id="minute"),
        pytest.param("hour", "2024-02-29T23:00", "2024-03-01T00:00", id="hour"),
        pytest.param("day", "2024-02-29T00:00", "2024-03-01T00:00", id="day"),
        pytest.param("month", "2024-02-01T00:00", "2024-03-01T00:00", id="month"),
    ],
)
def test_windows_turn_by_the_calendar(window: Window, start: str, end: str) -> None:
    """The last moment of a leap day lies in it; the next belongs to the next window."""
    moment = at("2024-02-29T23:59:59") + 0.999
    assert span_of(window, moment) == Span(at(start), at(end))
    assert span_of(window, at(end)).start_s == at(end)


def test_december_is_followed_by_january() -> None:
    """The year turns with the month."""
    span = span_of("month", at("2025-12-31T12:00"))
    assert span == Span(at("2025-12-01T00:00"), at("2026-01-01T00:00"))


def test_a_total_never_ends() -> None:
    """It has one window for ever."""
    assert span_of("total", 0.0) == span_of("total", 4e9) == Span(0, None)


@given(st.sampled_from(["minute", "hour", "day", "month"]), st.floats(0, 4e9))
def test_every_moment_lies_in_its_window(window: Window, moment: float) -> None:
    """And in that one's turn the answer does not change."""
    span = span_of(window, moment)
    assert span.holds(moment)
    assert span_of(window, span.start_s) == span


@pytest.mark.parametrize(
    ("tokens", "price", "cost"),
    [
        pytest.param(1_000_000, 20_000_000, 20_000_000, id="a million at 0.02 USD"),
        pytest.param(3, 20_000_000, 60, id="three"),
        pytest.param(1, 1, 1, id="a part of a nano-USD is rounded up"),
        pytest.param(0, 20_000_000, 0, id="nothing"),
        pytest.param(7, 0, 0, id="for nothing"),
    ],
)
def test_costs_are_whole_nano_usd(tokens: int, price: int, cost: int) -> None:
    """Exact where the price allows, and never below it."""
    assert cost_nano_usd(tokens, price) == cost


def test_the_dearest_candidate_sets_the_price() -> None:
    """One that is not known makes the whole not known."""
    assert dearest([1, 5, 0]) == 5
    assert dearest([1, None]) is None
    assert dearest([]) is None


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0"), (1, "0.000000001"), (10**9, "1"), (12_340_000_000, "12.34")]
)
def test_usd_is_written_exactly(nano: int, text: str) -> None:
    """No binary fraction comes between."""
    assert usd(nano) == text


def test_a_reservation_that_does_not_fit_changes_nothing() -> None:
    """Not even a part of it is set aside."""
    holding = Holding(1, QUOTA, Span(0, 60), free=10)
    assert not holding.reserve(11)
    assert (holding.free, holding.reserved) == (10, 0)


def test_what_is_not_spent_is_free_again() -> None:
    """A cheaper target, a failure and a cancellation give the rest back."""
    holding = Holding(1, QUOTA, Span(0, 60), free=10)
    assert holding.reserve(7)
    holding.settle(7, 3)
    assert (holding.free, holding.reserved, holding.spent) == (7, 0, 3)


def test_more_than_was_reserved_cannot_be_spent() -> None:
    """It would be spent twice."""
    holding = Holding(1, QUOTA, Span(0, 60), free=10)
    holding.reserve(7)
    with pytest.raises(ValueError, match="reserved"):
        holding.settle(7, 8)


def test_leases_grow_with_the_rate_and_shrink_without() -> None:
    """A busy process soon asks about once a second; a quiet one strands little."""
    appetite, moment = Appetite(), 0.0
    assert appetite.ahead(10, moment) == 310
    grown = [appetite.ahead(10, moment + 0.1 * turn) for turn in range(1, 6)]
    assert grown == [620, 1240, 2480, 4960, 9920]
    assert appetite.ahead(10, 1.5) == 9920
    hungry = [appetite.ahead(10, 1.5) for _ in range(100)]
    assert max(hungry) == hungry[-1] == 2**40
    appetite.extra = 9920
    assert [appetite.ahead(10, 100.0 * turn) for turn in range(1, 5)] == [2480, 620, 310, 310]
