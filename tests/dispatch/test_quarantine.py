"""A target that is found wrong: nothing of it is used any more, what is under way included."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from router.cache.fake import FakeStore
from router.deployments import Identity
from router.dispatch.shared_tier import SharedTier, TierSettings
from router.domain.clock import SystemClock
from router.domain.errors import UpstreamSpaceError
from router.domain.journal import Call
from router.domain.types import Float32Array, TokenBatch
from router.inheritance import Estate, Inheritance
from router.routing.breaker import BreakerLimits
from router.routing.targets import Standing, TargetLimits, TargetState
from router.upstreams.fake import FakeUpstream
from tests.support.fleet import DIMENSIONS, SPACE, DispatcherUnderTest, batch, right


class Wrong(FakeUpstream):
    """Vectors of another space, after a while."""

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        return -(await super().embed(batch, timeout_s, call))


class Reluctant(FakeUpstream):
    """Takes its time to notice that its call is given up."""

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        try:
            return await super().embed(batch, timeout_s, call)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            raise


async def test_calls_under_way_are_not_believed() -> None:
    """Another target answers in its place, and nothing wrong comes into memory afterwards."""
    fleet = DispatcherUnderTest(Wrong(DIMENSIONS, 0.05), FakeUpstream(DIMENSIONS), share=True)
    tasks = [asyncio.create_task(fleet.embed(batch(3, start=n))) for n in (0, 10)]
    await asyncio.sleep(0.01)
    fleet.states["a"].standing = Standing.QUARANTINED
    for start, task in zip((0, 10), tasks, strict=True):
        done = await task
        assert np.array_equal(done.vectors, await right(batch(3, start=start)))
        assert [one.outcome for one in done.attempts] == ["upstream_space", "ok"]
    again = await fleet.embed(batch(3))
    assert np.array_equal(again.vectors, await right(batch(3)))
    assert again.attempts == ()
    assert fleet.rooms["a"].requests == fleet.states["a"].tokens_in_flight == 0


async def test_no_answer_is_better_than_one_of_a_target_that_was_put_out() -> None:
    """Where nobody else could be asked the request fails."""
    fleet = DispatcherUnderTest(Wrong(DIMENSIONS, 0.05), share=True)
    task = asyncio.create_task(fleet.embed(batch(1)))
    await asyncio.sleep(0.01)
    fleet.states["a"].standing = Standing.QUARANTINED
    with pytest.raises(UpstreamSpaceError):
        await task


async def test_what_was_asked_before_is_not_believed_though_the_target_is_back() -> None:
    """It may have been answered by what was wrong; nor is the target put out for it again."""
    fleet = DispatcherUnderTest(Wrong(DIMENSIONS, 0.05), FakeUpstream(DIMENSIONS))
    task = asyncio.create_task(fleet.embed(batch(1)))
    await asyncio.sleep(0.01)
    state = fleet.states["a"]
    state.standing = Standing.QUARANTINED
    state.standing = Standing.VERIFIED
    done = await task
    assert done.targets == ("b",)
    assert state.may_be_called()
    assert fleet.reports == []


async def test_a_hedge_is_not_believed_that_was_found_wrong_at_the_last_moment() -> None:
    """It answered first, and was put out while the slower call was given up."""
    slow = Reluctant(DIMENSIONS)
    fleet = DispatcherUnderTest(slow, Wrong(DIMENSIONS), FakeUpstream(DIMENSIONS), hedge=0.9)
    fleet.is_usually_answered_in(0.1)
    slow.delay_s = 60
    task = asyncio.create_task(fleet.embed(batch(1)))
    while not fleet.states["b"].tokens:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)
    fleet.states["b"].standing = Standing.QUARANTINED
    assert np.array_equal((await task).vectors, await right(batch(1)))


async def test_the_shared_cache_gives_nothing_of_a_target_found_wrong_meanwhile() -> None:
    """Not even what was read and believed before the rest had come."""
    trusted = {"t"}

    class Slow(FakeStore):
        async def read(self, *arguments: Any) -> Any:
            answer = await super().read(*arguments)
            if len(self.reads) > reads_before + 1:
                trusted.clear()
            return answer

    store, reads_before = Slow(), 10**9
    tier = SharedTier(
        store, TierSettings("t", b"", 60, 5, 10**7), SystemClock(), lambda *event: None
    )
    tier.serve({"t": SPACE.name}, lambda name: name in trusted)
    async with asyncio.timeout(30):
        while not tier.is_open:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
        keys = [b"%016d" % number for number in range(200)]
        for key in keys:
            tier.keep(SPACE, key, np.full(DIMENSIONS, DIMENSIONS**-0.5, np.float32), "t")
        while tier.counts.written < 200:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert len(await tier.find(SPACE, keys)) == 200
    reads_before = len(store.reads)
    assert await tier.find(SPACE, keys) == {}
    await tier.close()


def test_a_deployment_with_another_key_is_trusted_with_the_one_before() -> None:
    """Found wrong after a reload, it is wrong for the calls that began before it, too."""

    def make() -> TargetState:
        return TargetState("t", TargetLimits(), BreakerLimits(), lambda name: True, lambda: 0.0)

    before = make()
    before.standing = Standing.VERIFIED
    identities = {"t": Identity("deployment", "calls")}
    estate = cast("Estate", SimpleNamespace(identities=identities, states={"t": before}))
    inheritance = Inheritance(
        estate, cast("Any", None), {"t": Identity("deployment", "other calls")}
    )
    after = inheritance.state("t", TargetLimits(), BreakerLimits(), make)
    assert after is not before
    assert after.standing is Standing.VERIFIED
    after.standing = Standing.QUARANTINED
    assert before.trust.quarantines == 1
