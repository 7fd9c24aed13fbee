"""What is remembered of a target's calls: right sums, bounded memory, rates of busy seconds."""

import random
import statistics

import pytest

from router.domain.errors import (
    UpstreamContractError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.routing.breaker import BreakerLimits
from router.routing.figures import CallFigures
from router.routing.targets import TargetLimits, TargetState
from router.routing.throughput import Throughput


class Target:
    """A state on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 6000.0
        self.state = TargetState(
            "t", TargetLimits(), BreakerLimits(), lambda name: True, lambda: self.now_s
        )

    def call(self, tokens: int, latency_s: float, error: Exception | None = None) -> None:
        call = self.state.started(tokens)
        self.now_s += latency_s
        if error is None:
            self.state.succeeded(call, tokens, latency_s)
        else:
            self.state.failed(call, tokens, latency_s, error)  # type: ignore[arg-type]


def test_a_window_sums_its_minutes_and_no_other() -> None:
    """The present one and those before it, as many as are asked for."""
    target = Target()
    for _ in range(10):
        target.call(100, 0.5)
        target.now_s += 59.5
    figures = target.state.figures
    target.now_s -= 59.5
    assert figures.window(5, target.now_s).calls == 5
    assert figures.window(60, target.now_s).calls == 10
    assert figures.window(60, target.now_s + 3600).calls == 0
    window = figures.window(5, target.now_s)
    assert (window.tokens, window.available) == (500, 1.0)
    assert window.tokens_per_s == pytest.approx(200)


def test_what_is_not_the_targets_fault_counts_for_nothing() -> None:
    """A refused input and a caller that left are neither answers nor failures."""
    target = Target()
    target.call(10, 0.1)
    target.call(10, 0.1, UpstreamRejectedError("poison"))
    target.state.abandoned(target.state.started(10), 10)
    for error in (
        UpstreamUnavailableError("down"), UpstreamUnavailableError("down"),
        UpstreamContractError("short"), UpstreamOverloadedError("full", 1),
    ):  # fmt: skip
        target.call(10, 0.1, error)
    window = target.state.figures.window(5, target.now_s)
    assert window.calls == 5
    assert window.failures == {
        "upstream_unavailable": 2, "upstream_contract": 1, "upstream_overloaded": 1
    }  # fmt: skip
    assert window.available == pytest.approx(0.2)
    assert window.tokens == 10


def test_quantiles_are_right_to_a_step() -> None:
    """Five per cent, from a tenth of a millisecond to minutes."""
    chance, figures = random.Random(5), CallFigures()
    latencies = [10 ** chance.uniform(-3.5, 1.5) for _ in range(5000)]
    for latency_s in latencies:
        figures.answered(1, latency_s, 0.0, 60.0)
    cuts = statistics.quantiles(latencies, n=100)
    window = figures.window(5, 60.0)
    assert window.p50_s == pytest.approx(cuts[49], rel=0.06)
    assert window.p99_s == pytest.approx(cuts[98], rel=0.06)


@pytest.mark.parametrize("latency_s", [0.0, 1e-9, 1e6])
def test_extremes_are_counted_too(latency_s: float) -> None:
    """At the ends of the scale."""
    figures = CallFigures()
    figures.answered(1, latency_s, 0.0, 60.0)
    assert figures.window(5, 60.0).p50_s is not None


def test_nothing_is_told_of_nothing() -> None:
    """No calls have no availability, no rate and no latency."""
    window = CallFigures().window(60, 0.0)
    assert (window.calls, window.tokens, window.failures) == (0, 0, {})
    assert [window.available, window.tokens_per_s, window.p50_s, window.p99_s] == [None] * 4


def test_memory_is_bounded() -> None:
    """A year of calls holds an hour."""
    figures = CallFigures()
    for hour in range(24 * 365):
        for minute in (0, 20, 40):
            figures.answered(1, 0.1, 0.1, 3600.0 * hour + 60.0 * minute)
    assert len(figures._minutes) <= 60


def test_a_rate_is_that_of_busy_seconds() -> None:
    """Idle time makes no target slow; calls side by side count together."""
    throughput = Throughput()
    assert throughput.tokens_per_s is None
    now_s = 100.0
    for _ in range(30):
        for _ in range(4):
            throughput.started(250, now_s)
        now_s += 0.1
        for _ in range(4):
            throughput.ended(250, 250, now_s)
        now_s += 5.0
    assert throughput.tokens_per_s == pytest.approx(10_000)
    assert throughput.busy_s == pytest.approx(3.0)
    throughput.started(5_000, now_s)
    assert throughput.wait_s() == pytest.approx(0.5)


def test_the_best_rate_of_late_holds_and_is_forgotten() -> None:
    """Little to do does not look like a slow target; a target that has become slow does."""
    throughput, now_s = Throughput(), 0.0

    def busy(tokens: int, seconds: int) -> None:
        nonlocal now_s
        for _ in range(seconds):
            throughput.started(tokens, now_s)
            now_s += 1.0
            throughput.ended(tokens, tokens, now_s)

    busy(10_000, 5)
    busy(100, 10)
    assert throughput.tokens_per_s == pytest.approx(10_000)
    busy(100, 30)
    assert throughput.tokens_per_s == pytest.approx(100)
