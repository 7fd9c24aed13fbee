"""The breaker, the latency average and the retry budget, with time in the test's hands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.routing.breaker import Breaker, BreakerLimits
from router.routing.latency import Latency
from router.routing.retry_budget import RetryBudget

LIMITS = BreakerLimits(consecutive_failures=3, open_s=1.0, longest_open_s=4.0)


def opened() -> Breaker:
    breaker = Breaker(LIMITS)
    for _ in range(3):
        breaker.failed(breaker.started(10.0), 10.0)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """At the limit, not before; a success in between starts the count anew."""
    breaker = Breaker(LIMITS)
    for failed in (True, True, False, True, True):
        call = breaker.started(1.0)
        breaker.failed(call, 1.0) if failed else breaker.succeeded(call)
    assert breaker.is_closed
    breaker.failed(breaker.started(1.0), 1.0)
    assert not breaker.allows(1.0)


def test_a_share_of_failures_opens_it() -> None:
    """A target that fails now and then, never thrice in a row, is found out too."""
    breaker = Breaker(LIMITS)
    for number, call in enumerate([breaker.started(1.0) for _ in range(30)]):
        breaker.failed(call, 1.0) if number % 3 == 0 else breaker.succeeded(call)
    assert not breaker.is_closed


def test_half_open_lets_one_probe_pass() -> None:
    """After the pause one call goes through; the others wait for how it ends."""
    breaker = opened()
    assert not breaker.allows(10.9)
    assert breaker.allows(11.0)
    probe = breaker.started(11.0)
    assert not breaker.allows(11.0)
    breaker.succeeded(probe)
    assert breaker.allows(11.0)
    assert breaker.is_closed


def test_a_failed_probe_doubles_the_pause_up_to_its_bound() -> None:
    """1, 2, 4, 4 seconds: a target that stays down is asked ever less, but is asked."""
    breaker, now_s = opened(), 10.0
    for pause_s in (1.0, 2.0, 4.0, 4.0):
        assert breaker.remaining_s(now_s) == pytest.approx(pause_s)
        now_s += pause_s
        assert breaker.allows(now_s)
        breaker.failed(breaker.started(now_s), now_s)


def test_late_ends_say_nothing_new() -> None:
    """Calls from before the opening: no longer pause, no closing, and no harm to the probe."""
    breaker = Breaker(LIMITS)
    late = [breaker.started(9.0) for _ in range(60)]
    for _ in range(3):
        breaker.failed(breaker.started(10.0), 10.0)
    for call in late[:20]:
        breaker.failed(call, 10.5)
    assert breaker.remaining_s(10.5) == pytest.approx(0.5)
    breaker.succeeded(late[20])
    assert not breaker.is_closed
    probe = breaker.started(11.0)
    breaker.abandoned(late[21])
    assert not breaker.allows(11.0)
    breaker.failed(late[22], 11.5)
    breaker.succeeded(probe)
    assert breaker.is_closed


def test_a_probe_that_is_given_up_makes_room_for_the_next() -> None:
    """A client that leaves does not leave the target in the dark."""
    breaker = opened()
    breaker.abandoned(breaker.started(11.0))
    assert breaker.allows(11.0)


def test_a_last_resort_that_fails_does_not_take_the_place_of_the_probe() -> None:
    """It says nothing new, makes the pause no longer, and the probe passes when it is due."""
    breaker = opened()
    breaker.failed(breaker.started(10.5), 10.6)
    assert breaker.remaining_s(10.6) == pytest.approx(0.4)
    slow = breaker.started(10.9)
    probe = breaker.started(11.0)
    breaker.failed(slow, 11.1)
    assert breaker.remaining_s(11.1) == 0.0
    breaker.failed(probe, 11.2)
    assert breaker.remaining_s(11.2) == pytest.approx(2.0)
    assert breaker.allows(13.2)


def test_a_last_resort_that_answers_closes_it() -> None:
    """Vectors from after the opening are proof, whoever asked for them."""
    breaker = opened()
    breaker.succeeded(breaker.started(10.5))
    assert breaker.is_closed


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ok", "fail", "left", "start"]), st.floats(0, 3), st.integers(0, 9)
        ),
        max_size=80,
    )
)
def test_it_never_stays_open_for_good(events: list[tuple[str, float, int]]) -> None:
    """Whatever happened, a target that works again is in use within the longest pause.

    Calls overlap, and some start though they are not allowed, as last resorts do.
    """
    breaker, now_s = Breaker(LIMITS), 0.0
    calls: list[int] = []
    for kind, later_s, which in events:
        now_s += later_s
        if kind == "start" or not calls:
            calls.append(breaker.started(now_s))
            continue
        call = calls.pop(which % len(calls))
        if kind == "ok":
            breaker.succeeded(call)
        elif kind == "fail":
            breaker.failed(call, now_s)
        else:
            breaker.abandoned(call)
    for call in calls:
        breaker.abandoned(call)
    now_s += LIMITS.longest_open_s
    assert breaker.allows(now_s)
    breaker.succeeded(breaker.started(now_s))
    assert breaker.is_closed


def test_a_slow_answer_counts_at_once_and_is_forgotten_slowly() -> None:
    """Peaks are believed; recovery is."""
    latency = Latency()
    for second in range(20):
        latency.observe(0.01, float(second))
    latency.observe(1.0, 20.0)
    assert latency.peak_s(20.0) == 1.0
    latency.observe(0.01, 21.0)
    assert 0.8 < latency.peak_s(21.0) < 1.0
    assert latency.peak_s(120.0) < 0.001


def test_quantiles_of_the_latest_calls() -> None:
    """None while there are too few to tell; old calls drop out."""
    latency = Latency()
    assert latency.quantile_s(0.5) is None
    for number in range(1, 101):
        latency.observe(float(number), 0.0)
    assert latency.quantile_s(0.95) == pytest.approx(95, abs=17)
    for _ in range(200):
        latency.observe(7.0, 0.0)
    assert latency.quantile_s(0.99) == 7.0


@given(st.lists(st.booleans(), max_size=400))
def test_retries_never_pass_their_share(retries: list[bool]) -> None:
    """At most what was there at the start, and a fifth of the first calls."""
    budget, first, taken = RetryBudget(per_s=0.0), 0, 0
    for is_retry in retries:
        if is_retry:
            taken += budget.take(1.0)
        else:
            budget.first_call()
            first += 1
    assert taken <= 30 + 0.2 * first + 1e-6


def test_the_budget_comes_back_with_time() -> None:
    """Even where there are hardly any calls, a retry is possible before long."""
    budget = RetryBudget(per_s=1.0, balance=0.0)
    assert not budget.take(100.0)
    assert not budget.take(100.9)
    assert budget.take(101.1)
