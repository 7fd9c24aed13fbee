"""An input that is refused is found by halving and named; what is beside it is not lost."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import EmbedwayError, UpstreamContractError, UpstreamRejectedError
from router.routing.retry_budget import RetryBudget
from router.upstreams.fake import FakeUpstream
from tests.support.fleet import DIMENSIONS, DispatcherUnderTest, Poisoned, batch, right
from tests.support.upstreams import OtherDimension


@pytest.mark.parametrize("error", [UpstreamRejectedError("400"), UpstreamContractError("NaN")])
@pytest.mark.parametrize("targets", [1, 2])
async def test_one_poisonous_input_is_named(error: EmbedwayError, targets: int) -> None:
    """Found by halving, in a bounded number of calls."""
    fleet = DispatcherUnderTest(*(Poisoned(error, 37) for _ in range(targets)))
    with pytest.raises(type(error), match=r"\(input 37\)") as caught:
        await fleet.embed(batch(64))
    assert caught.value.position == 37
    assert fleet.calls("a") <= 2 + 2 * 6 + 2


async def test_without_room_for_looking_the_part_is_told_of() -> None:
    """At once: nobody waits for a position."""
    budget = RetryBudget(0.0, 0.0, balance=3)
    fleet = DispatcherUnderTest(Poisoned(UpstreamRejectedError("400"), 37), budget=budget)
    with pytest.raises(UpstreamRejectedError) as caught:
        await fleet.embed(batch(64))
    assert caught.value.position is None
    assert fleet.calls("a") == 4


class Waking(Poisoned):
    """Wakes other targets as its `call_number`-th call comes in."""

    def __init__(self, call_number: int, *ids: int) -> None:
        super().__init__(UpstreamRejectedError("400"), *ids)
        self.call_number = call_number
        self.others: tuple[FakeUpstream, ...] = ()

    async def embed(self, *arguments: Any) -> Any:
        if len(self.calls) + 1 == self.call_number:
            for other in self.others:
                other.is_ready = True
        return await super().embed(*arguments)


def woken_by(
    first: Waking, *others: Poisoned, limits: list[int], share: bool = True
) -> DispatcherUnderTest:
    """A fleet whose targets but the first are away at first, and take less than that one."""
    for other in others:
        other.is_ready = False
    first.others = others
    return DispatcherUnderTest(
        first,
        *others,
        limits=[{}, *({"max_inputs": limit} for limit in limits)],
        share=share,
        budget=RetryBudget(balance=1000, most=1000),
    )


@pytest.mark.parametrize("share", [True, False])
async def test_a_target_that_comes_back_while_one_looks_does_not_confuse_the_search(
    share: bool,
) -> None:
    """It takes less at a time: the search goes on in the very piece that it refused."""
    small = Poisoned(UpstreamRejectedError("400"), 5)
    fleet = woken_by(Waking(2, 5), small, limits=[3], share=share)
    with pytest.raises(UpstreamRejectedError, match=r"\(input 5\)"):
        await fleet.embed(batch(16))
    assert small.calls[0].ids.tolist() == batch(3).ids.tolist()
    assert sum(0 in call.ids for call in fleet.upstreams["a"].calls) == 2


@given(
    count=st.integers(2, 40),
    poison=st.integers(0, 39),
    call_number=st.integers(1, 12),
    limits=st.lists(st.integers(1, 20), min_size=1, max_size=2),
)
def test_whoever_comes_back_the_poisonous_input_is_named(
    count: int, poison: int, call_number: int, limits: list[int]
) -> None:
    """Whenever that is, and however little they take."""
    poison %= count

    async def run() -> None:
        others = [Poisoned(UpstreamRejectedError("400"), 100 + poison) for _ in limits]
        fleet = woken_by(Waking(call_number, 100 + poison), *others, limits=limits)
        with pytest.raises(UpstreamRejectedError) as caught:
            await fleet.embed(batch(count, start=100))
        assert caught.value.position == poison

    asyncio.run(run())


class TakesFew(FakeUpstream):
    """Refuses more inputs at a time than it says that it takes."""

    async def embed(self, *arguments: Any) -> Any:
        vectors = await super().embed(*arguments)
        if len(vectors) > 4:
            raise UpstreamRejectedError("413")
        return vectors


async def test_parts_that_are_only_too_large_are_all_done_in_smaller_ones() -> None:
    """A limit that nobody was told of: no input is at fault, so none may be left out."""
    fleet = DispatcherUnderTest(TakesFew(DIMENSIONS), share=True)
    done = await fleet.embed(batch(16))
    assert np.array_equal(done.vectors, await right(batch(16)))


async def test_what_stands_behind_a_piece_that_is_only_too_large_is_done_too() -> None:
    """A piece that was refused is mended in parts; then the ones behind it are asked for."""

    class Wakes(Waking):
        async def embed(self, *arguments: Any) -> Any:
            vectors = await super().embed(*arguments)
            if len(vectors) > 2:
                raise UpstreamRejectedError("413")
            return vectors

    small = TakesFew(DIMENSIONS)
    small.is_ready = False
    first = Wakes(2)
    first.others = (small,)
    fleet = DispatcherUnderTest(first, small, limits=[{}, {"max_inputs": 6}], share=True)
    done = await fleet.embed(batch(32))
    assert np.array_equal(done.vectors, await right(batch(32)))


async def test_the_rest_of_a_poisoned_request_is_remembered() -> None:
    """Whoever sends it again without the poison pays for nothing twice."""
    fleet = DispatcherUnderTest(Poisoned(UpstreamRejectedError("400"), 37), share=True)
    with pytest.raises(UpstreamRejectedError, match="input 37"):
        await fleet.embed(batch(64))
    before = fleet.calls("a")
    done = await fleet.embed(batch(37))
    assert (fleet.calls("a"), done.saved_tokens) == (before, batch(37).total)
    assert np.array_equal(done.vectors, await right(batch(37)))


async def test_the_position_is_that_of_the_request_though_others_were_remembered() -> None:
    """Not the position in what was left to ask for."""
    fleet = DispatcherUnderTest(Poisoned(UpstreamRejectedError("400"), 37), share=True)
    await fleet.embed(batch(30))
    with pytest.raises(UpstreamRejectedError) as caught:
        await fleet.embed(batch(64))
    assert caught.value.position == 37


async def test_a_target_that_breaks_every_answer_is_not_halved_to_pieces() -> None:
    """No single input is at fault where both halves come back broken."""
    fleet = DispatcherUnderTest(OtherDimension(DIMENSIONS))
    with pytest.raises(UpstreamContractError):
        await fleet.embed(batch(512))
    assert fleet.calls("a") <= 4
