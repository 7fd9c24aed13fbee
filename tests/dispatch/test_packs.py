"""Requests of several routes in one call to a target: each waits as long as its own route says."""

import asyncio

import numpy as np
import pytest

from router.domain.errors import DeadlineExceededError
from router.domain.journal import Call, billed_tokens
from router.domain.types import Float32Array, TokenBatch
from router.upstreams.fake import FakeUpstream
from router.upstreams.packing import PackingUpstream
from tests.support.fleet import DIMENSIONS, DispatcherUnderTest, batch, right

# A route with a second target gives its first one this long.
_SHARE_S = 0.6


class Packed(FakeUpstream):
    """A target behind packing, which several fleets may share as several routes do."""

    def __init__(self, behind: FakeUpstream) -> None:
        super().__init__(DIMENSIONS)
        self._packing = PackingUpstream(behind, 8192)

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        return await self._packing.embed(batch, timeout_s, call)


class TwoRoutes:
    """Both begin with the target `behind`; `both` has a second one, `alone` has none."""

    def __init__(self, delay_s: float) -> None:
        self.behind = FakeUpstream(DIMENSIONS, delay_s)
        packed = Packed(self.behind)
        self.both = DispatcherUnderTest(
            packed, FakeUpstream(DIMENSIONS), limits=[{"timeout_s": _SHARE_S}]
        )
        self.alone = DispatcherUnderTest(packed)


async def test_a_hanging_target_leaves_time_for_the_second_one_beside_a_patient_route() -> None:
    """The request whose route has a second target is served by it in time; the other one waits."""
    loop = asyncio.get_running_loop()
    routes = TwoRoutes(delay_s=1.5)
    began_s = loop.time()
    patient = asyncio.create_task(routes.alone.embed(batch(2), within_s=5))
    done = await routes.both.embed(batch(3, start=10), within_s=2)
    assert _SHARE_S - 0.05 < loop.time() - began_s < 1.2
    assert done.targets == ("b",)
    assert np.array_equal(done.vectors, await right(batch(3, start=10)))
    assert not patient.done()
    assert np.array_equal((await patient).vectors, await right(batch(2)))
    # They were in one call, which went on for the patient one.
    assert [call.count for call in routes.behind.calls] == [5]
    assert routes.behind.cancelled == 0


async def test_who_left_a_pack_is_told_of_like_who_was_alone() -> None:
    """An attempt that timed out: it may be billed, and it counts against the target."""
    routes = TwoRoutes(delay_s=9)
    for start in (10, 20, 30):
        patient = asyncio.create_task(routes.alone.embed(batch(2), within_s=5))
        done = await routes.both.embed(batch(3, start=start), within_s=2)
        outcomes = [(attempt.target, attempt.outcome) for attempt in done.attempts]
        assert outcomes == [("a", "deadline_exceeded"), ("b", "ok")]
        tokens = batch(3).total
        assert billed_tokens(done.attempts) == {"a": tokens, "b": tokens}
        patient.cancel()
        await asyncio.gather(patient, return_exceptions=True)
    state, room = routes.both.states["a"], routes.both.rooms["a"]
    assert not state.breaker.is_closed
    assert (state.tokens_in_flight, room.requests, room.tokens) == (0, 0, 0)
    # The patient one has left each call too, so nobody waits for any.
    await asyncio.sleep(0.05)
    assert routes.behind.cancelled == len(routes.behind.calls) == 3


async def test_a_patient_route_has_all_of_its_time_beside_a_hasty_one() -> None:
    """Its own deadline, and no other, ends its wait."""
    loop = asyncio.get_running_loop()
    routes = TwoRoutes(delay_s=9)
    began_s = loop.time()
    hasty = asyncio.create_task(routes.both.embed(batch(3, start=10), within_s=2))
    with pytest.raises((DeadlineExceededError, TimeoutError)):
        await routes.alone.embed(batch(2), within_s=1.2)
    assert loop.time() - began_s > 1.15
    assert (await hasty).targets == ("b",)
