"""Which traces are kept."""

import random

import pytest

from router.domain.journal import Attempt, Facts, Parent
from router.telemetry.sampling import Sampler
from tests.support.clocks import ManualClock

TRACE = "0af7651916cd43dd8448eb211c80319c"


def sampler(ratio: float = 0.0, most: int = 100, *, trusts: bool = True) -> Sampler:
    return Sampler(ratio, 1.0, most, ManualClock(), trusts_parent=trusts)


def attempts(*outcomes: str) -> list[Attempt]:
    return [Attempt("a", outcome, 1.0, 1, 1) for outcome in outcomes]


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_chance_keeps_the_share_that_is_asked_for(ratio: float) -> None:
    """Of random traces the ratio is kept, none of them at 0 and all at 1."""
    draw = random.Random(7)
    chosen = sampler(ratio)
    kept = sum(chosen.before(f"{draw.getrandbits(128):032x}", None) for _ in range(4000))
    assert abs(kept / 4000 - ratio) < 0.03
    assert kept == 4000 * ratio or 0 < ratio < 1


def test_two_samplers_of_one_ratio_keep_the_same_traces() -> None:
    """The trace id alone decides, so that no trace is kept by halves."""
    draw = random.Random(8)
    ids = [f"{draw.getrandbits(128):032x}" for _ in range(200)]
    one, other = sampler(0.5), sampler(0.5)
    assert [one.before(name, None) for name in ids] == [other.before(name, None) for name in ids]


@pytest.mark.parametrize("is_sampled", [True, False])
def test_the_callers_word_goes_before_chance(is_sampled: bool) -> None:
    """Whatever the ratio, a parent's flag decides, unless parents are not trusted."""
    parent = Parent(TRACE, "b7ad6b7169203331", is_sampled)
    assert sampler(float(not is_sampled)).before(TRACE, parent) is is_sampled
    assert sampler(float(not is_sampled), trusts=False).before(TRACE, parent) is not is_sampled


@pytest.mark.parametrize(
    ("reason", "facts", "calls", "status", "seconds"),
    [
        ("error", Facts(error="upstream_error"), ("upstream_error",), 502, 0.1),
        ("refused", Facts(error="budget_exhausted"), (), 402, 0.1),
        ("refused", Facts(error="rate_limit_exceeded"), (), 429, 0.1),
        ("refused", Facts(error="invalid_api_key"), (), 401, 0.1),
        ("left", Facts(), ("cancelled",), 499, 0.1),
        ("fallback", Facts(), ("upstream_unavailable", "ok"), 200, 0.1),
        ("slow", Facts(), ("ok",), 200, 1.0),
        (None, Facts(), ("ok",), 200, 0.99),
        (None, Facts(), ("cancelled", "ok"), 200, 0.1),
        (None, Facts(), ("ok", "ok"), 200, 0.1),
    ],
    ids=["error", "budget", "rate", "key", "left", "fallback", "slow", "good", "hedged", "split"],
)
def test_what_went_wrong_is_kept_at_the_end(
    reason: str | None, facts: Facts, calls: tuple[str, ...], status: int, seconds: float
) -> None:
    """Errors, refusals, fallbacks and slow requests are kept though chance left them out."""
    assert sampler().after(facts, attempts(*calls), status, seconds) == reason


def test_an_outage_floods_nobody() -> None:
    """More than so many a second are not kept for what went wrong, and they are counted."""
    clock = ManualClock()
    chosen = Sampler(0.0, 1.0, 3, clock, trusts_parent=True)
    kept = [chosen.after(Facts(error="e"), [], 500, 0.1) for _ in range(5)]
    assert kept == ["error"] * 3 + [None] * 2
    assert chosen.left_out == 2
    clock.monotonic += 1.0
    assert chosen.after(Facts(error="e"), [], 500, 0.1) == "error"
