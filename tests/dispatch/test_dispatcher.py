"""Fallback, splitting, hedging: a failure that another target can mend is not seen."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    OverloadedError,
    UpstreamContractError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamSpaceError,
    UpstreamUnavailableError,
)
from router.routing.retry_budget import RetryBudget
from router.routing.targets import Standing
from router.upstreams.fake import FakeUpstream
from tests.support.clocks import ManualClock
from tests.support.fleet import DIMENSIONS, DispatcherUnderTest, Poisoned, batch, right
from tests.support.upstreams import NotANumber, OneTooFew, OtherDimension


def fake(delay_s: float = 0.0, fail_with: EmbedwayError | None = None) -> FakeUpstream:
    made = FakeUpstream(DIMENSIONS, delay_s)
    made.fail_with = fail_with
    return made


# What a target is given where it is made to hang for longer.
HASTY = {"timeout_s": 0.3}
FAILING: list[Callable[[], FakeUpstream]] = [
    lambda: fake(fail_with=UpstreamUnavailableError("down")),
    lambda: fake(fail_with=UpstreamError("500")),
    lambda: fake(fail_with=UpstreamOverloadedError("busy", 30)),
    lambda: fake(fail_with=UpstreamRejectedError("no")),
    lambda: fake(fail_with=UpstreamContractError("odd")),
    lambda: fake(fail_with=UpstreamSpaceError("other")),
    lambda: fake(delay_s=60),
    lambda: OneTooFew(DIMENSIONS),
    lambda: NotANumber(DIMENSIONS),
    lambda: OtherDimension(DIMENSIONS),
]


@pytest.mark.parametrize("make", FAILING)
@pytest.mark.parametrize("count", [1, 9])
async def test_another_target_mends_every_failure(
    make: Callable[[], FakeUpstream], count: int
) -> None:
    """The caller sees vectors and which targets were tried, no error."""
    fleet = DispatcherUnderTest(make(), fake(), limits=[HASTY])
    done = await fleet.embed(batch(count))
    assert np.array_equal(done.vectors, await right(batch(count)))
    assert done.targets == ("b",)
    assert [attempt.target for attempt in done.attempts] == ["a", "b"]
    assert done.attempts[1].outcome == "ok"
    assert fleet.rooms["a"].requests == fleet.rooms["b"].requests == 0
    assert all(state.tokens_in_flight == 0 for state in fleet.states.values())


@pytest.mark.parametrize("make", FAILING)
async def test_all_failing_is_the_failure(make: Callable[[], FakeUpstream]) -> None:
    """In the end the error is told, within the deadline, after a bounded number of calls."""
    fleet = DispatcherUnderTest(make(), make(), limits=[HASTY] * 2)
    with pytest.raises((EmbedwayError, TimeoutError)):
        await fleet.embed(batch(5), within_s=2)
    assert fleet.calls("a") + fleet.calls("b") <= 12


async def test_a_request_is_cut_to_the_limits_and_put_together_again() -> None:
    """Inputs and tokens, in parallel but bounded."""
    fleet = DispatcherUnderTest(fake(0.01), limits=[{"max_inputs": 10, "max_call_tokens": 20}])
    asked = batch(203)
    done = await fleet.embed(asked)
    assert np.array_equal(done.vectors, await right(asked))
    calls = fleet.upstreams["a"].calls
    assert max(call.count for call in calls) <= 10
    assert max(call.total for call in calls) <= 20


async def test_a_failed_part_alone_is_moved() -> None:
    """What was done is not done again."""
    fleet = DispatcherUnderTest(
        Poisoned(UpstreamUnavailableError("down"), 25), fake(), limits=[{"max_inputs": 10}] * 2
    )
    asked = batch(40, start=100)
    bad = batch(40, start=20)
    assert np.array_equal((await fleet.embed(asked)).vectors, await right(asked))
    done = await fleet.embed(bad)
    assert np.array_equal(done.vectors, await right(bad))
    assert [attempt.outcome for attempt in done.attempts].count("upstream_unavailable") == 1
    assert [call.count for call in fleet.upstreams["b"].calls] == [10]


async def test_a_part_that_moves_is_cut_again_for_who_takes_less() -> None:
    """The next target's limits are kept too."""
    fleet = DispatcherUnderTest(
        fake(fail_with=UpstreamError("500")), fake(), limits=[{}, {"max_inputs": 3}]
    )
    done = await fleet.embed(batch(11))
    assert np.array_equal(done.vectors, await right(batch(11)))
    assert [call.count for call in fleet.upstreams["b"].calls] == [3, 3, 3, 2]


async def test_a_target_of_another_space_is_put_out_at_once() -> None:
    """And asked no more, not even as a last resort."""
    fleet = DispatcherUnderTest(fake(fail_with=UpstreamSpaceError("other")), fake())
    await fleet.embed(batch(1))
    assert fleet.states["a"].standing is Standing.QUARANTINED
    assert [event[:2] for event in fleet.reports] == [("a", Standing.QUARANTINED)]
    await fleet.embed(batch(1))
    assert fleet.calls("a") == 1
    fleet.upstreams["b"].fail_with = UpstreamError("500")
    with pytest.raises(UpstreamError):
        await fleet.embed(batch(1))
    assert fleet.calls("a") == 1


async def test_retry_after_is_respected() -> None:
    """The target rests for as long as it asked; the others serve meanwhile."""
    busy = fake(fail_with=UpstreamOverloadedError("busy", 100))
    clock = ManualClock()
    fleet = DispatcherUnderTest(busy, fake(), clock=clock)
    for _ in range(5):
        await fleet.embed(batch(1))
    assert fleet.calls("a") == 1
    busy.fail_with = None
    clock.monotonic += 101
    assert (await fleet.embed(batch(1))).targets == ("a",)


async def test_when_all_rest_the_caller_is_told_when_to_come_back() -> None:
    """Nobody is asked before the time that it asked for."""
    busy = (fake(fail_with=UpstreamOverloadedError("b", 9)) for _ in "ab")
    fleet = DispatcherUnderTest(*busy, clock=ManualClock())
    for _ in range(2):
        with pytest.raises(UpstreamOverloadedError) as caught:
            await fleet.embed(batch(1))
        assert caught.value.retry_after_s == 9
    assert fleet.calls("a") + fleet.calls("b") == 2


async def test_an_open_breaker_spares_the_target() -> None:
    """A dead target costs a few calls, not one a request."""
    down, clock = fake(fail_with=UpstreamUnavailableError("down")), ManualClock()
    fleet = DispatcherUnderTest(down, fake(), clock=clock)
    for _ in range(50):
        await fleet.embed(batch(1))
    assert fleet.calls("a") == 3


async def test_a_hanging_target_takes_its_share_of_time_only() -> None:
    """The rest is left for the next."""
    fleet = DispatcherUnderTest(fake(delay_s=60), fake(), limits=[HASTY])
    started_s = asyncio.get_running_loop().time()
    done = await fleet.embed(batch(1), within_s=20)
    assert asyncio.get_running_loop().time() - started_s < 10
    assert done.targets == ("b",)
    assert done.attempts[0].outcome == "deadline_exceeded"


async def test_a_lone_target_is_given_all_the_time() -> None:
    """Nobody else could be asked, so cutting it short would help nobody."""
    fleet = DispatcherUnderTest(fake(delay_s=0.5), limits=[HASTY])
    assert (await fleet.embed(batch(1))).targets == ("a",)


async def test_a_hasty_caller_does_not_open_a_breaker() -> None:
    """A deadline of a few milliseconds proves nothing about the target."""
    fleet = DispatcherUnderTest(fake(delay_s=60), fake(delay_s=60))
    for _ in range(10):
        with pytest.raises((DeadlineExceededError, TimeoutError)):
            await fleet.embed(batch(1), within_s=0.005)
    assert all(state.breaker.is_closed for state in fleet.states.values())


async def test_one_hiccup_of_a_lone_target_is_mended() -> None:
    """It is asked once more, after a moment."""

    class Hiccup(FakeUpstream):
        async def embed(self, *arguments: Any) -> Any:
            if not self.calls:
                self.calls.append(arguments[0])
                raise UpstreamUnavailableError("the connection failed")
            return await super().embed(*arguments)

    fleet = DispatcherUnderTest(Hiccup(DIMENSIONS))
    done = await fleet.embed(batch(1))
    assert [attempt.outcome for attempt in done.attempts] == ["upstream_unavailable", "ok"]


async def test_a_full_room_sends_the_request_elsewhere() -> None:
    """The router's own bound is one more reason to ask another target."""
    fleet = DispatcherUnderTest(fake(0.1), fake())
    room = fleet.rooms["a"]
    room.requests, room.tokens = 1000, 10**9
    assert (await fleet.embed(batch(1))).targets == ("b",)
    fleet.rooms["b"].requests = 1000
    with pytest.raises(OverloadedError):
        await fleet.embed(batch(1))


async def test_retries_wait_for_their_budget() -> None:
    """Beyond it they are late, not lost, and not a storm."""
    budget = RetryBudget(ratio=0.2, per_s=40.0, balance=0.0)
    fleet = DispatcherUnderTest(fake(fail_with=UpstreamRejectedError("no")), fake(), budget=budget)
    answers = await asyncio.gather(*(fleet.embed(batch(1, start=n)) for n in range(30)))
    assert all(answer.targets == ("b",) for answer in answers)
    late = DispatcherUnderTest(
        fake(fail_with=UpstreamRejectedError("no")), fake(), budget=RetryBudget(0.0, 0.0, balance=0)
    )
    with pytest.raises((DeadlineExceededError, TimeoutError)):
        await late.embed(batch(1), within_s=0.2)
    assert late.calls("b") == 0


async def test_who_sends_texts_does_not_fail_with_who_sends_ids() -> None:
    """A target that takes texts alone serves the one, though both want the same vector."""
    fleet = DispatcherUnderTest(
        fake(0.02),
        fake(0.05, UpstreamUnavailableError("down")),
        limits=[{"takes_ids": False}, {}],
        share=True,
    )
    bare = replace(batch(2), texts=None)
    answers = await asyncio.gather(fleet.embed(bare), fleet.embed(batch(2)), return_exceptions=True)
    assert isinstance(answers[0], UpstreamUnavailableError)
    assert not isinstance(answers[1], BaseException)
    assert np.array_equal(answers[1].vectors, await right(batch(2)))


async def test_a_caller_that_leaves_cancels_its_calls() -> None:
    """All parts of them, and no state is left behind."""
    fleet = DispatcherUnderTest(fake(60), fake(60), limits=[{"max_inputs": 2}])
    task = asyncio.create_task(fleet.embed(batch(20)))
    async with asyncio.timeout(30):
        while fleet.calls("a") < 4:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fleet.upstreams["a"].cancelled == 4
    assert fleet.rooms["a"].requests == 0
    assert fleet.states["a"].tokens_in_flight == 0


async def test_a_hedge_answers_for_a_slow_target() -> None:
    """After its usual latency a second target is asked; the slow call is cancelled."""
    slow = fake()
    fleet = DispatcherUnderTest(slow, fake(), hedge=0.9)
    fleet.is_usually_answered_in(0.5)
    await fleet.embed(batch(1))
    assert fleet.calls("b") == 0
    slow.delay_s = 60
    done = await fleet.embed(batch(1))
    assert done.targets == ("b",)
    assert sorted(attempt.outcome for attempt in done.attempts) == ["cancelled", "ok"]
    assert slow.cancelled == 1


async def test_hedges_are_paid_from_the_retry_budget() -> None:
    """A fleet that is slow as a whole is not asked twice for everything."""
    fleet = DispatcherUnderTest(fake(), fake(), hedge=0.9, budget=RetryBudget(0.1, 0.0, balance=0))
    for number in range(20):
        await fleet.embed(batch(1, start=number))
    fleet.upstreams["a"].delay_s = 0.05
    await asyncio.gather(*(fleet.embed(batch(1, start=n)) for n in range(20)))
    assert fleet.calls("b") <= 4


@given(
    count=st.integers(1, 60),
    limits=st.lists(st.integers(2, 20), min_size=3, max_size=3),
    failures=st.lists(st.sampled_from(range(len(FAILING) - 4)), min_size=2, max_size=2),
    share=st.booleans(),
)
def test_whatever_fails_vectors_are_right_and_in_order(
    count: int, limits: list[int], failures: list[int], share: bool
) -> None:
    """Two targets fail in any two ways, the third is well; limits differ."""

    async def run() -> None:
        fleet = DispatcherUnderTest(
            *(FAILING[failure]() for failure in failures),
            fake(),
            limits=[{"max_inputs": limit} for limit in limits],
            share=share,
            budget=RetryBudget(balance=1000, most=1000),
        )
        done = await fleet.embed(batch(count))
        assert np.array_equal(done.vectors, await right(batch(count)))

    asyncio.run(run())
