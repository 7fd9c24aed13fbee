"""Computes each input once: what is remembered is not asked for, what is under way is waited for.

Who needs a vector first asks for it; who comes while it is under way waits for that answer. If the
first one leaves, or runs out of its own time, the next of those who wait asks for itself: nobody
fails through another's haste.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    OverloadedError,
    UpstreamContractError,
    UpstreamError,
    UpstreamRejectedError,
)
from router.domain.types import Float32Array, TokenBatch
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
_Found = dict[bytes, tuple[Float32Array, str]]


@dataclass(frozen=True, slots=True)
class Shared:
    """Vectors (n, d), the targets asked for them, and tokens that none was asked for."""

    vectors: Float32Array
    targets: tuple[str, ...]
    saved_tokens: int


class Sharing:
    """One memory and one list of what is under way, for all spaces of a router."""

    def __init__(self, memory: VectorMemory) -> None:
        self._memory = memory
        self._flights: dict[bytes, _Flight] = {}

    @property
    def under_way(self) -> int:
        """Inputs being computed."""
        return len(self._flights)

    async def embed(self, space: str, batch: TokenBatch, compute: Compute) -> Shared:
        """Vectors of the batch; `compute` gets what nobody has, and tells of each part it has.

        Raises what `compute` raises; parts that were done by then are remembered all the same.
        """
        keys = keys_of(space, batch)
        places: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, place)
        found: _Found = {}
        asked: list[bytes] = []
        while len(found) < len(places):
            mine, others = self._sort(places, found)
            if mine:
                asked += mine
                await self._lead(batch, mine, [places[key] for key in mine], compute, found)
            await _follow(others, found)
        rows = [found[key][0] for key in keys]
        return Shared(
            vectors=rows[0][np.newaxis] if len(rows) == 1 else np.stack(rows),
            targets=tuple(dict.fromkeys(found[key][1] for key in asked)),
            saved_tokens=batch.total - sum(int(batch.lengths[places[key]]) for key in asked),
        )

    def _sort(
        self, places: dict[bytes, int], found: _Found
    ) -> tuple[list[bytes], dict[bytes, _Flight]]:
        """Keys that nobody computes yet, and flights of those that somebody does."""
        mine: list[bytes] = []
        others: dict[bytes, _Flight] = {}
        for key in places:
            if key in found:
                continue
            vector = self._memory.get(key)
            if vector is not None:
                found[key] = vector, ""
            elif key in self._flights:
                others[key] = self._flights[key]
            else:
                mine.append(key)
        return mine, others

    async def _lead(
        self,
        batch: TokenBatch,
        mine: list[bytes],
        places: list[int],
        compute: Compute,
        found: _Found,
    ) -> None:
        """Compute what is mine; whoever waits for it hears of it, however it ends."""
        loop = asyncio.get_running_loop()
        flights: dict[bytes, _Flight] = {key: loop.create_future() for key in mine}
        self._flights.update(flights)

        def done(start: int, vectors: Float32Array, target: str) -> None:
            for key, vector in zip(mine[start:], vectors, strict=False):
                found[key] = vector, target
                self._memory.put(key, vector, target)
                flights[key].set_result(found[key])
                del self._flights[key]

        outcome: EmbedwayError | None = None
        try:
            await compute(chosen(batch, places), done)
            if not all(flight.done() for flight in flights.values()):
                raise UpstreamContractError("a part of the answer is missing")
        except EmbedwayError as error:
            outcome = None if isinstance(error, _PERSONAL) else error
            if isinstance(error, UpstreamError) and error.position is not None:
                error.position, outcome = places[error.position], None
            raise
        finally:
            for key, flight in flights.items():
                if not flight.done():
                    del self._flights[key]
                    flight.set_result(outcome)


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
