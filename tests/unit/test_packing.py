"""Packing: fewer calls, and nobody notices."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from router.domain.errors import (
    DeadlineExceededError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.journal import Call
from router.domain.types import Float32Array, TokenBatch
from router.upstreams.fake import FakeUpstream
from router.upstreams.packing import PackingUpstream


def batch(*sequences: list[int]) -> TokenBatch:
    return TokenBatch(
        ids=np.array([token for ids in sequences for token in ids], np.int32),
        lengths=np.array([len(ids) for ids in sequences], np.int32),
    )


async def until(condition: Callable[[], bool]) -> None:
    """Return in the turn of the loop in which it holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


class Picky(FakeUpstream):
    """Refuses any call that holds the id 666, as a target does: the whole call."""

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        vectors = await super().embed(batch, timeout_s, call)
        if 666 in batch.ids:
            raise UpstreamRejectedError("the target refused the request")
        return vectors


async def test_batches_of_one_turn_share_a_call_and_get_their_own_vectors() -> None:
    """Each gets exactly what it would have got alone, in order."""
    fake = FakeUpstream(16)
    packing = PackingUpstream(fake, 1000)
    batches = [batch([i, i + 1], [i]) for i in range(10)]
    answers = await asyncio.gather(*(packing.embed(item, 1.0) for item in batches))
    assert len(fake.calls) == 1
    for item, answer in zip(batches, answers, strict=True):
        alone = await FakeUpstream(16).embed(item, 1.0)
        assert np.array_equal(answer, alone)


async def test_a_call_stays_within_its_tokens() -> None:
    """A pack that is full leaves, and a batch larger than a pack goes alone."""
    fake = FakeUpstream(4)
    packing = PackingUpstream(fake, 5)
    sizes = [2, 2, 2, 9, 5]
    await asyncio.gather(*(packing.embed(batch([1] * size), 1.0) for size in sizes))
    assert sorted(call.total for call in fake.calls) == [2, 4, 5, 9]


async def test_zero_tokens_switch_packing_off() -> None:
    """Every batch is a call."""
    fake = FakeUpstream(4)
    packing = PackingUpstream(fake, 0)
    await asyncio.gather(*(packing.embed(batch([1]), 1.0) for _ in range(5)))
    assert len(fake.calls) == 5


async def test_a_lone_batch_waits_for_nobody() -> None:
    """Its call has begun after one turn of the loop."""
    fake = FakeUpstream(4, delay_s=0.05)
    task = asyncio.create_task(PackingUpstream(fake, 100).embed(batch([1]), 1.0))
    for _ in range(4):
        await asyncio.sleep(0)
    assert len(fake.calls) == 1
    await task


async def test_a_member_that_is_refused_fails_alone() -> None:
    """The others of its call are asked for again and answered."""
    packing = PackingUpstream(Picky(4), 100)
    answers = await asyncio.gather(
        *(packing.embed(batch([token]), 1.0) for token in (1, 666, 2)), return_exceptions=True
    )
    assert isinstance(answers[1], UpstreamRejectedError)
    assert np.array_equal(answers[0], await FakeUpstream(4).embed(batch([1]), 1.0))
    assert np.array_equal(answers[2], await FakeUpstream(4).embed(batch([2]), 1.0))


async def test_a_member_that_leaves_does_not_take_the_others_along() -> None:
    """The call goes on as long as one is waiting for it."""
    fake = FakeUpstream(4, delay_s=0.05)
    packing = PackingUpstream(fake, 100)
    tasks = [asyncio.create_task(packing.embed(batch([i]), 1.0)) for i in range(3)]
    await until(lambda: bool(fake.calls))
    tasks[0].cancel()
    rest = await asyncio.gather(*tasks[1:])
    assert fake.cancelled == 0
    assert len(rest) == 2


async def test_when_all_members_have_left_the_call_is_cancelled() -> None:
    """Work that nobody waits for ends at the target."""
    fake = FakeUpstream(4, delay_s=5)
    packing = PackingUpstream(fake, 100)
    tasks = [asyncio.create_task(packing.embed(batch([i]), 10.0)) for i in range(3)]
    await until(lambda: bool(fake.calls))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: fake.cancelled > 0)
    assert (len(fake.calls), fake.cancelled) == (1, 1)


async def test_those_who_left_before_the_call_are_not_in_it() -> None:
    """A batch that was given up in the same turn costs nothing."""
    fake = FakeUpstream(4)
    packing = PackingUpstream(fake, 100)
    gone = asyncio.create_task(packing.embed(batch([7]), 1.0))
    kept = asyncio.create_task(packing.embed(batch([8]), 1.0))
    await asyncio.sleep(0)
    gone.cancel()
    await kept
    await asyncio.gather(gone, return_exceptions=True)
    assert [call.ids.tolist() for call in fake.calls] == [[8]]


async def test_a_failure_reaches_every_member() -> None:
    """Nobody is left waiting for a call that failed."""
    fake = FakeUpstream(4)
    fake.fail_with = UpstreamUnavailableError("down")
    packing = PackingUpstream(fake, 100)
    answers = await asyncio.gather(
        *(packing.embed(batch([i]), 1.0) for i in range(3)), return_exceptions=True
    )
    assert all(isinstance(answer, UpstreamUnavailableError) for answer in answers)


async def test_a_defect_reaches_every_member_too() -> None:
    """An exception that nobody foresaw is not swallowed."""
    fake = FakeUpstream(4)
    fake.fail_with = RuntimeError("defect")  # type: ignore[assignment]
    packing = PackingUpstream(fake, 100)
    with pytest.raises(RuntimeError):
        await packing.embed(batch([1]), 1.0)


async def test_closing_ends_what_is_under_way() -> None:
    """No caller hangs on a router that shuts down."""
    fake = FakeUpstream(4, delay_s=30)
    packing = PackingUpstream(fake, 100)
    task = asyncio.create_task(packing.embed(batch([1]), 60.0))
    await until(lambda: bool(fake.calls))
    await packing.close()
    with pytest.raises(UpstreamUnavailableError, match="shutting down"):
        await task


class Held(FakeUpstream):
    """Answers only once it is let; sets no timer of its own."""

    def __init__(self) -> None:
        super().__init__(4)
        self.is_let = asyncio.Event()
        self.timeouts_s: list[float] = []

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        self.timeouts_s.append(timeout_s)
        self.calls.append(batch)
        try:
            await self.is_let.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return np.full((batch.count, 4), 0.5, np.float32)


class Timers:
    """Timers that the running loop is asked for, other than a test's own."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.handles: list[asyncio.TimerHandle] = []
        real = loop.call_at

        def call_at(*arguments: Any, **named: Any) -> asyncio.TimerHandle:
            self.handles.append(real(*arguments, **named))
            return self.handles[-1]

        loop.call_at = call_at  # type: ignore[method-assign]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def members(packing: PackingUpstream, *times_s: float) -> list[asyncio.Task[Float32Array]]:
    """One member for each time that one is given."""
    return [
        asyncio.create_task(packing.embed(batch([place]), time_s))
        for place, time_s in enumerate(times_s)
    ]


async def test_each_member_waits_for_its_own_time_only() -> None:
    """Whose time is over leaves as after a timeout; the call goes on for who has more."""
    held = Held()
    began_s = asyncio.get_running_loop().time()
    patient, hasty, hastier = members(PackingUpstream(held, 100), 5.0, 0.1, 0.05)
    for late, least_s in ((hastier, 0.05), (hasty, 0.1)):
        with pytest.raises(DeadlineExceededError):
            await late
        assert least_s - 0.005 < asyncio.get_running_loop().time() - began_s < least_s + 0.5
    await asyncio.sleep(0.05)
    assert (len(held.calls), held.timeouts_s, held.cancelled) == (1, [5.0], 0)
    assert not patient.done()
    held.is_let.set()
    assert (await patient).shape == (1, 4)


@pytest.mark.parametrize("leaves", ["before", "after"])
async def test_the_call_is_cancelled_when_the_last_member_has_left(leaves: str) -> None:
    """Whoever that is: one who gave up, or one whose time was over."""
    held = Held()
    patient, hasty = members(PackingUpstream(held, 100), 5.0, 0.05)
    await turns()
    if leaves == "before":
        patient.cancel()
        await turns()
        assert held.cancelled == 0
    with pytest.raises(DeadlineExceededError):
        await hasty
    if leaves == "after":
        await turns()
        assert held.cancelled == 0
        patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)
    await turns()
    assert (len(held.calls), held.cancelled) == (1, 1)


@pytest.mark.parametrize("times_s", [[5.0] * 8, [5.0, 4.9, 5.0, 4.8], [5.0], [-1.0]])
async def test_members_with_about_the_same_time_need_no_timer(times_s: list[float]) -> None:
    """What most packs are costs nothing: such members wait for the call's own timeout."""
    held, timers = Held(), Timers()
    tasks = members(PackingUpstream(held, 100), *times_s)
    await turns()
    assert held.timeouts_s == [max(times_s)]
    held.is_let.set()
    await asyncio.gather(*tasks)
    assert timers.handles == []


async def test_a_pack_has_one_timer_which_ends_with_its_call() -> None:
    """However many different times its members have."""
    held, timers = Held(), Timers()
    tasks = members(PackingUpstream(held, 100), *(1.0 + place for place in range(30)))
    await turns()
    held.is_let.set()
    await asyncio.gather(*tasks)
    assert [handle.cancelled() for handle in timers.handles] == [True]


async def test_a_member_that_is_asked_for_again_has_only_the_rest_of_its_time() -> None:
    """And who has left by then is not asked for again."""

    class RefusesPacks(Held):
        async def embed(self, *arguments: Any) -> Any:
            vectors = await super().embed(*arguments)
            if len(vectors) > 1:
                raise UpstreamRejectedError("the target refused the request")
            return vectors

    held = RefusesPacks()
    *kept, late, gone = members(PackingUpstream(held, 100), 5.0, 1.0, 0.05, 5.0)
    await turns()
    gone.cancel()
    await asyncio.sleep(0.2)
    held.is_let.set()
    await asyncio.gather(*kept)
    assert isinstance(late.exception(), DeadlineExceededError)
    assert [call.ids.tolist() for call in held.calls] == [[0, 1, 2, 3], [0], [1]]
    together, first, second = held.timeouts_s
    assert together == 5.0
    assert 4.0 < first < 4.81
    assert 0.0 < second < 0.81
