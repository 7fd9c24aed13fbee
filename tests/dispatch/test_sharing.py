"""The memory and what is under way: each input computed once, and nobody fails for another."""

import asyncio
from collections.abc import Callable
from functools import partial
from operator import mod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dispatch.sharing import Done, Shared, Sharing
from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    UpstreamContractError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.types import Space, TokenBatch
from router.routing.splitting import split
from router.upstreams.fake import FakeUpstream
from router.vectors.matryoshka import narrow
from router.vectors.memory import VectorMemory, keys_of

DIMENSIONS = 8
PLENTY = 10_000_000
S, OTHER = (Space(name, "m", DIMENSIONS, 64) for name in ("s", "other"))


def batch(*tokens: int) -> TokenBatch:
    """Each input is its token, twice."""
    return TokenBatch(np.repeat(np.array(tokens, "i4"), 2), np.full(len(tokens), 2, "i4"))


class Target:
    """Computes after `delay_s` and once `go` is set, in parts of two; counts what it is asked."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.fake = FakeUpstream(DIMENSIONS)
        self.delay_s = delay_s
        self.go = asyncio.Event()
        self.go.set()
        self.asked: list[int] = []
        self.fail_with: Callable[[], EmbedwayError] | None = None
        self.poison: int | None = None

    async def compute(self, part: TokenBatch, done: Done) -> None:
        tokens = part.ids[::2].tolist()
        self.asked += tokens
        await asyncio.sleep(self.delay_s)
        await self.go.wait()
        if self.fail_with is not None:
            raise self.fail_with()
        for piece in split(part, 2, None):
            if self.poison in piece.batch.ids:
                raise UpstreamRejectedError("refused", position=tokens.index(self.poison))
            done(piece.start, await self.fake.embed(piece.batch, 1), "t")


async def turns() -> None:
    """What can begin now begins."""
    for _ in range(10):
        await asyncio.sleep(0)


def sharing(max_bytes: int = PLENTY) -> Sharing:
    return Sharing(VectorMemory(max_bytes))


async def expected(*tokens: int) -> np.ndarray:
    return await FakeUpstream(DIMENSIONS).embed(batch(*tokens), 1)


async def check(shared: Shared, *tokens: int) -> None:
    assert np.array_equal(shared.vectors, await expected(*tokens))


async def test_what_is_remembered_is_not_asked_for_again() -> None:
    """A partial hit asks for the rest only; every vector is at its place."""
    target, place = Target(), sharing()
    first = await place.embed(S, batch(1, 2, 3), target.compute)
    await check(first, 1, 2, 3)
    assert (first.saved_tokens, first.targets) == (0, ("t",))
    second = await place.embed(S, batch(4, 2, 1, 5), target.compute)
    await check(second, 4, 2, 1, 5)
    assert second.saved_tokens == 4
    assert target.asked == [1, 2, 3, 4, 5]
    third = await place.embed(S, batch(5, 1), target.compute)
    assert (third.saved_tokens, third.targets) == (4, ())


async def test_the_same_input_twice_is_computed_once() -> None:
    """Within one request too; both places get the vector."""
    target = Target()
    shared = await sharing(0).embed(S, batch(7, 8, 7, 7), target.compute)
    await check(shared, 7, 8, 7, 7)
    assert target.asked == [7, 8]
    assert shared.saved_tokens == 4


async def test_spaces_do_not_share() -> None:
    """The same ids in another space are another input; so is another input type."""
    target, place = Target(), sharing()
    await place.embed(S, batch(1), target.compute)
    await place.embed(OTHER, batch(1), target.compute)
    typed = TokenBatch(batch(1).ids, batch(1).lengths, None, "query")
    await place.embed(S, typed, target.compute)
    assert target.asked == [1, 1, 1]


async def test_inputs_under_way_are_waited_for() -> None:
    """Fifty callers at once, with nothing remembered: one call."""
    target, place = Target(delay_s=0.02), sharing(0)
    answers = await asyncio.gather(
        *(place.embed(S, batch(1, 2), target.compute) for _ in range(50))
    )
    for answer in answers:
        await check(answer, 1, 2)
    assert target.asked == [1, 2]
    assert place.under_way == 0


async def test_nobody_waits_for_another_where_that_is_off() -> None:
    """Each caller computes for itself; what is remembered still serves."""
    target = Target(delay_s=0.02)
    place = Sharing(VectorMemory(PLENTY), in_flight=False)
    answers = await asyncio.gather(*(place.embed(S, batch(1), target.compute) for _ in range(3)))
    for answer in answers:
        await check(answer, 1)
    assert target.asked == [1, 1, 1]
    assert (await place.embed(S, batch(1), target.compute)).saved_tokens == 2


async def test_a_caller_that_leaves_does_not_fail_the_others() -> None:
    """The next of those who wait asks for itself."""
    target, place = Target(), sharing(0)
    target.go.clear()
    first = asyncio.create_task(place.embed(S, batch(1), target.compute))
    await turns()
    rest = [asyncio.create_task(place.embed(S, batch(1), target.compute)) for _ in range(5)]
    await turns()
    first.cancel()
    rest[0].cancel()
    await turns()
    target.go.set()
    for task in rest[1:]:
        await check(await task, 1)
    assert target.asked == [1, 1]
    assert (await asyncio.gather(first, rest[0], return_exceptions=True)).count(None) == 0
    assert place.under_way == 0


async def test_a_caller_out_of_time_does_not_fail_the_others() -> None:
    """Its deadline was its own."""
    target, place = Target(delay_s=0.02), sharing(0)
    target.fail_with = lambda: DeadlineExceededError("late")
    target.go.clear()
    first = asyncio.create_task(place.embed(S, batch(1), target.compute))
    await turns()
    second = asyncio.create_task(place.embed(S, batch(1), target.compute))
    await turns()
    target.go.set()
    with pytest.raises(DeadlineExceededError):
        await first
    target.fail_with = None
    await check(await second, 1)


async def test_a_failure_of_the_target_is_everybodys() -> None:
    """Those who waited do not ask a target again that has just failed."""
    target, place = Target(delay_s=0.02), sharing()
    target.fail_with = lambda: UpstreamUnavailableError("down")
    answers = await asyncio.gather(
        *(place.embed(S, batch(1), target.compute) for _ in range(5)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {UpstreamUnavailableError}
    assert target.asked == [1]
    target.fail_with = None
    await check(await place.embed(S, batch(1), target.compute), 1)


async def test_who_goes_another_way_neither_waits_nor_fails_with_the_first() -> None:
    """Another route's targets may be well; who goes the same way as one of both waits for it."""
    economy, premium, place = Target(), Target(delay_s=0.01), sharing(0)
    economy.go.clear()
    economy.fail_with = lambda: UpstreamUnavailableError("no target of economy is ready")
    first = asyncio.create_task(place.embed(S, batch(1, 2), economy.compute, lambda: "economy"))
    await asyncio.sleep(0)
    others = [
        asyncio.create_task(place.embed(S, batch(2, 1), premium.compute, lambda: "premium"))
        for _ in range(5)
    ]
    late = asyncio.create_task(place.embed(S, batch(1), economy.compute, lambda: "economy"))
    for other in others:
        await check(await other, 2, 1)
    assert not first.done()
    assert premium.asked == [2, 1]
    assert place.under_way == 2
    economy.go.set()
    for task in (first, late):
        with pytest.raises(UpstreamUnavailableError):
            await task
    assert economy.asked == [1, 2]
    assert place.under_way == 0


async def test_what_one_way_has_computed_serves_every_other() -> None:
    """The memory is the space's."""
    target, place = Target(), sharing()
    await place.embed(S, batch(1), target.compute, lambda: "economy")
    await check(await place.embed(S, batch(1), target.compute, lambda: "premium"), 1)
    assert target.asked == [1]


async def test_an_answer_that_one_of_several_inputs_spoiled_is_not_everybodys_failure() -> None:
    """Which one it was is not known: who waits for another asks for itself."""
    target, place = Target(delay_s=0.02), sharing()
    target.fail_with = lambda: UpstreamContractError("not a number")
    first = asyncio.create_task(place.embed(S, batch(1, 2), target.compute))
    await asyncio.sleep(0)
    second = asyncio.create_task(place.embed(S, batch(2), target.compute))
    with pytest.raises(UpstreamContractError):
        await first
    target.fail_with = None
    await check(await second, 2)


async def test_what_was_done_before_a_failure_is_remembered() -> None:
    """The rest is not thrown away, and the error names the input of the request."""
    target, place = Target(), sharing()
    await place.embed(S, batch(1), target.compute)
    target.poison = 6
    with pytest.raises(UpstreamRejectedError) as caught:
        await place.embed(S, batch(1, 2, 3, 4, 5, 6, 7), target.compute)
    assert caught.value.position == 5
    target.asked.clear()
    await place.embed(S, batch(2, 3, 4, 5), target.compute)
    assert target.asked == []


async def test_an_answer_with_a_hole_is_an_error() -> None:
    """Not an endless wait, for nobody who waits for it."""

    async def compute(part: TokenBatch, done: Done) -> None:
        done(0, await FakeUpstream(DIMENSIONS).embed(batch(1), 1), "t")
        del part

    with pytest.raises(UpstreamContractError, match="missing"):
        await sharing().embed(S, batch(1, 2), compute)


@given(
    requests=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), max_size=12),
    max_bytes=st.integers(0, 3000),
    left=st.sets(st.integers(0, 11)),
)
def test_any_mix_of_requests_gets_its_own_vectors(
    requests: list[list[int]], max_bytes: int, left: set[int]
) -> None:
    """Overlapping, repeated, given up, on two ways, with a memory too small: the right vectors."""
    asyncio.run(_mix(requests, max_bytes, left))


async def _mix(requests: list[list[int]], max_bytes: int, left: set[int]) -> None:
    target, place = Target(), sharing(max_bytes)
    tasks = [
        asyncio.create_task(place.embed(S, batch(*tokens), target.compute, partial(mod, number, 2)))
        for number, tokens in enumerate(requests)
    ]
    await asyncio.sleep(0)
    for number, task in enumerate(tasks):
        if number in left:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for number, (tokens, task) in enumerate(zip(requests, tasks, strict=True)):
        if number not in left:
            await check(task.result(), *tokens)
    assert place.under_way == 0
    assert place._memory.bytes <= max_bytes


def vector(number: int) -> np.ndarray:
    return np.full(DIMENSIONS, number, np.float32)


def test_the_memory_is_bounded_and_drops_what_was_used_least_recently() -> None:
    """A vector that was just read stays; the bound holds at every moment."""
    memory = VectorMemory(3 * (4 * DIMENSIONS + 400))
    for number in range(3):
        memory.put(b"%d" % number, vector(number), "t")
    assert memory.get(b"0") is not None
    memory.put(b"3", vector(3), "t")
    assert memory.get(b"1") is None
    assert [memory.get(b"%d" % n) is not None for n in (0, 2, 3)] == [True] * 3
    assert (len(memory), memory.bytes) == (3, 3 * (4 * DIMENSIONS + 400))


def test_the_same_key_again_takes_no_more_room() -> None:
    """Bytes are counted once."""
    memory = VectorMemory(PLENTY)
    for _ in range(5):
        memory.put(b"k", vector(1), "t")
    assert memory.bytes == 4 * DIMENSIONS + 400


def test_what_is_remembered_cannot_be_changed_from_outside() -> None:
    """It is a copy, and whoever gets it may only read."""
    memory, mine = VectorMemory(PLENTY), vector(1)
    memory.put(b"k", mine, "t")
    mine[:] = 9
    got = memory.get(b"k")
    assert got is not None
    assert got.tolist() == vector(1).tolist()
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 5


def test_what_a_target_computed_can_be_forgotten() -> None:
    """Nothing else goes."""
    memory = VectorMemory(PLENTY)
    memory.put(b"a", vector(1), "good")
    memory.put(b"b", vector(2), "bad")
    assert memory.forget("bad") == 1
    assert memory.get(b"b") is None
    assert memory.get(b"a") is not None


def test_a_narrower_vector_is_derived_from_the_full_one() -> None:
    """What is remembered once serves every dimension, as if it had been computed for it."""
    memory = VectorMemory(PLENTY)
    full = np.random.default_rng(1).standard_normal(DIMENSIONS).astype("f4")
    memory.put(b"k", full, "t")
    got = memory.get(b"k")
    assert got is not None
    assert np.array_equal(narrow(got[np.newaxis], 4), narrow(full[np.newaxis], 4))


@given(
    left=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    right=st.lists(st.integers(0, 5), min_size=1, max_size=6),
)
def test_keys_are_those_of_the_ids_alone(left: list[int], right: list[int]) -> None:
    """Equal sequences have equal keys, others have not, wherever they stand."""
    both = TokenBatch(np.array([*left, *right], "i4"), np.array([len(left), len(right)], "i4"))
    alone = TokenBatch(np.array(right, "i4"), np.array([len(right)], "i4"))
    first, second = keys_of(b"s", both)
    assert second == keys_of(b"s", alone)[0]
    assert (first == second) == (left == right)
