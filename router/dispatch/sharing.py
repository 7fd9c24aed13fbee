"""Computes each input once: what is remembered is not asked for, what is under way is waited for.

Who needs a vector first asks for it; who comes while it is under way waits for that answer. If the
first one leaves, or runs out of its own time, the next of those who wait asks for itself: nobody
fails through another's haste. Nor through another's choice: who would be sent to other targets does
not wait, but asks for itself at once. What was computed serves all of the space.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from router.dispatch.shared_tier import SharedTier
from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    OverloadedError,
    UpstreamContractError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamSpaceError,
)
from router.domain.types import Float32Array, Space, TokenBatch
from router.routing.splitting import chosen
from router.vectors.memory import VectorMemory, keys_of

# What a flight brings: a vector and its target, an error that is everybody's, or nothing.
_Outcome = tuple[Float32Array, str] | EmbedwayError | None
_Flight = asyncio.Future[_Outcome]
# The first one's own trouble: its time, its room, or the place of an input in its own request.
_PERSONAL = (DeadlineExceededError, OverloadedError, UpstreamRejectedError)

# Told of vectors (k, d) as they come: place of the first in the batch, vectors, their target.
Done = Callable[[int, Float32Array, str], None]
Compute = Callable[[TokenBatch, Done], Awaitable[None]]
# Equal for those whose requests would be sent to the same targets; asked only where two meet.
Way = Callable[[], object]
_Found = dict[bytes, tuple[Float32Array, str]]


@dataclass(frozen=True, slots=True)
class Shared:
    """Vectors (n, d), the targets asked for them, and tokens that none was asked for."""

    vectors: Float32Array
    targets: tuple[str, ...]
    saved_tokens: int


@dataclass(frozen=True, slots=True)
class _Turn:
    """A request's own part: flights that it leads, and where in its batch the keys stand."""

    space: Space
    batch: TokenBatch
    way: Way
    places: dict[bytes, int]
    found: _Found
    flights: dict[bytes, _Flight]


class Sharing:
    """One memory and one list of what is under way, for all spaces of a router."""

    def __init__(
        self, memory: VectorMemory, tier: SharedTier | None = None, *, in_flight: bool = True
    ) -> None:
        """`tier` is asked for what the memory lacks; without `in_flight` nobody is waited for."""
        self._memory = memory
        self._tier = tier
        self._in_flight = in_flight
        # Several turns for a key only where they go different ways.
        self._turns: dict[bytes, tuple[_Turn, ...]] = {}

    @property
    def under_way(self) -> int:
        """Inputs being computed."""
        return len(self._turns)

    async def embed(
        self, space: Space, batch: TokenBatch, compute: Compute, way: Way = lambda: None
    ) -> Shared:
        """Vectors of the batch; `compute` gets what nobody has, and tells of each part it has.

        Only those who go the same `way` are waited for. Raises what `compute` raises; parts that
        were done by then are remembered all the same.
        """
        keys = keys_of(space.id, batch)
        places: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, place)
        found: _Found = {}
        asked: list[bytes] = []
        while len(found) < len(places):
            mine, others = self._sort(places, found, way)
            if mine:
                turn = _Turn(space, batch, way, places, found, _flights(mine))
                self._take_off(turn)
                asked += await self._lead(turn, compute)
            await _follow(others, found)
        rows = [found[key][0] for key in keys]
        return Shared(
            vectors=rows[0][np.newaxis] if len(rows) == 1 else np.stack(rows),
            targets=tuple(dict.fromkeys(found[key][1] for key in asked)),
            saved_tokens=batch.total - sum(int(batch.lengths[places[key]]) for key in asked),
        )

    def _sort(
        self, places: dict[bytes, int], found: _Found, way: Way
    ) -> tuple[list[bytes], dict[bytes, _Flight]]:
        """Keys that nobody of this way computes yet, and flights of those that somebody does."""
        mine: list[bytes] = []
        others: dict[bytes, _Flight] = {}
        for key in places:
            if key in found:
                continue
            vector = self._memory.get(key)
            if vector is not None:
                found[key] = vector, ""
            elif key in self._turns and (turn := self._company(key, way)) is not None:
                others[key] = turn.flights[key]
            else:
                mine.append(key)
        return mine, others

    def _company(self, key: bytes, way: Way) -> _Turn | None:
        """Who computes a key and goes this way."""
        return next((turn for turn in self._turns[key] if turn.way() == way()), None)

    def _take_off(self, turn: _Turn) -> None:
        """Others can wait for these keys while they are found or computed."""
        if not self._in_flight:
            return
        alone = (turn,)
        for key in turn.flights:
            turns = self._turns.setdefault(key, alone)
            if turns is not alone:
                self._turns[key] = (*turns, turn)

    async def _lead(self, turn: _Turn, compute: Compute) -> list[bytes]:
        """Find or compute what is mine; whoever waits for it hears of it, however it ends.

        The keys that had to be computed.
        """
        outcome: EmbedwayError | None = None
        rest = list(turn.flights)
        try:
            if self._tier is not None and self._tier.is_open:
                rest = await self._from_tier(self._tier, turn, rest)
            if rest:
                await self._compute(turn, rest, compute)
        except EmbedwayError as error:
            outcome = None if _is_personal(error, len(rest)) else error
            if isinstance(error, UpstreamError) and error.position is not None:
                error.position, outcome = turn.places[rest[error.position]], None
            raise
        finally:
            for key, flight in turn.flights.items():
                if not flight.done():
                    self._land(turn, key, outcome)
        return rest

    async def _from_tier(self, tier: SharedTier, turn: _Turn, keys: list[bytes]) -> list[bytes]:
        """Take what the other routers have; the keys that they have not."""
        taken = await tier.find(turn.space, keys)
        for key, (vector, target) in taken.items():
            self._settle(turn, key, vector, target)
        return [key for key in keys if key not in taken] if taken else keys

    async def _compute(self, turn: _Turn, keys: list[bytes], compute: Compute) -> None:
        def done(start: int, vectors: Float32Array, target: str) -> None:
            for key, vector in zip(keys[start:], vectors, strict=False):
                self._settle(turn, key, vector, target)
                if self._tier is not None:
                    self._tier.keep(turn.space, key, vector, target)

        await compute(chosen(turn.batch, [turn.places[key] for key in keys]), done)
        if not all(turn.flights[key].done() for key in keys):
            raise UpstreamContractError("a part of the answer is missing")

    def _settle(self, turn: _Turn, key: bytes, vector: Float32Array, target: str) -> None:
        turn.found[key] = vector, target
        self._memory.put(key, vector, target)
        self._land(turn, key, turn.found[key])

    def _land(self, turn: _Turn, key: bytes, outcome: _Outcome) -> None:
        turns = self._turns.pop(key, ())
        if len(turns) > 1:
            self._turns[key] = tuple(one for one in turns if one is not turn)
        turn.flights[key].set_result(outcome)


def _flights(keys: list[bytes]) -> dict[bytes, _Flight]:
    loop = asyncio.get_running_loop()
    return {key: loop.create_future() for key in keys}


def _is_personal(error: EmbedwayError, inputs: int) -> bool:
    """Whether an error says nothing of the inputs of others who wait for some of these."""
    if isinstance(error, UpstreamContractError) and not isinstance(error, UpstreamSpaceError):
        # Any one of several inputs may have spoiled the answer for all.
        return inputs > 1
    return isinstance(error, _PERSONAL)


async def _follow(others: dict[bytes, _Flight], found: _Found) -> None:
    if others:
        # Not awaited one by one: a caller that leaves would cancel them for all.
        await asyncio.wait(others.values())
    for key, flight in others.items():
        outcome = flight.result()
        if isinstance(outcome, EmbedwayError):
            raise outcome
        if outcome is not None:
            found[key] = outcome
