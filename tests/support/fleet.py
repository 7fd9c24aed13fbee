"""A dispatcher over fake targets, on the real clock, without doors or configuration."""

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from router.dispatch.attempts import Caller
from router.dispatch.dispatcher import Dispatched, Dispatcher, RouteCourse
from router.dispatch.hedging import Hedge
from router.dispatch.sharing import Sharing
from router.domain.clock import Clock, SystemClock
from router.domain.errors import EmbedwayError
from router.domain.journal import Call, Journal
from router.domain.types import Float32Array, Route, Space, Target, TokenBatch
from router.policy.admission import Room
from router.routing.breaker import BreakerLimits
from router.routing.needs import Needs
from router.routing.plan import Course, RoutePlan
from router.routing.retry_budget import RetryBudget
from router.routing.strategies import make_strategy
from router.routing.targets import Standing, TargetLimits, TargetState
from router.upstreams.fake import FakeUpstream
from router.vectors.memory import VectorMemory

DIMENSIONS = 16
PATIENCE_S = 30.0
SPACE = Space("s", "m", DIMENSIONS, 4096)


def batch(count: int, start: int = 0) -> TokenBatch:
    """Inputs of one to four tokens, each with ids of its own."""
    lengths = [1 + place % 4 for place in range(count)]
    sequences = [[start + place, *[7] * (length - 1)] for place, length in enumerate(lengths)]
    return TokenBatch(
        np.array(list(itertools.chain.from_iterable(sequences)), "i4"),
        np.array(lengths, "i4"),
        tuple(f"text {start + place}" for place in range(count)),
    )


async def right(asked: TokenBatch) -> Float32Array:
    """The vectors that every target of the space gives."""
    return await FakeUpstream(DIMENSIONS).embed(asked, 1)


class Poisoned(FakeUpstream):
    """Fails on batches that hold one of these first ids."""

    def __init__(self, error: EmbedwayError, *ids: int) -> None:
        super().__init__(DIMENSIONS)
        self.error = error
        self.ids = set(ids)

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        vectors = await super().embed(batch, timeout_s, call)
        if self.ids & set(batch.ids.tolist()):
            raise self.error
        return vectors


class DispatcherUnderTest:
    """Targets a, b, c … in this order of priority.

    Nothing runs out of time on a busy machine unless `limits` says so.
    """

    def __init__(
        self,
        *upstreams: FakeUpstream,
        limits: Sequence[dict[str, Any]] = (),
        hedge: float | None = None,
        share: bool = False,
        budget: RetryBudget | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.upstreams = dict(zip("abcdefgh", upstreams, strict=False))
        self.reports: list[tuple[str, Standing, str | None]] = []
        self.states = {
            name: TargetState(
                name,
                TargetLimits(
                    **({"timeout_s": PATIENCE_S} | (limits[place] if place < len(limits) else {}))
                ),
                BreakerLimits(),
                lambda name: self.upstreams[name].is_ready,
                clock.monotonic_s,
            )
            for place, name in enumerate(self.upstreams)
        }
        for state in self.states.values():
            state.standing = Standing.VERIFIED
        self.rooms = {name: Room(Target(name, "s", 1000, 10**9)) for name in self.upstreams}
        states = tuple(self.states.values())
        strategy = make_strategy("priority", states, spill_over_s=math.inf, random=lambda: 0.0)
        course = RouteCourse(
            RoutePlan((Course("default", strategy),), None),
            states,
            None if hedge is None else Hedge(hedge),
        )
        self.reroutes: list[tuple[str, str, str, str]] = []
        self.budget = budget or RetryBudget()
        self.dispatcher = Dispatcher(
            courses={"r": course},
            caller=Caller(
                self.upstreams, self.rooms, clock, lambda *event: self.reports.append(event)
            ),
            sharing=Sharing(VectorMemory(10**7)) if share else None,
            budget=self.budget,
            clock=clock,
            max_parallel_calls=4,
            rerouted=lambda *event: self.reroutes.append(event),
        )
        self._clock = clock

    async def embed(self, asked: TokenBatch, within_s: float = PATIENCE_S) -> Dispatched:
        needs = Needs(asked.total, int(asked.lengths.max()), asked.texts is not None)
        route = Route("r", SPACE, tuple(self.states))
        deadline_s = self._clock.monotonic_s() + within_s
        async with asyncio.timeout(within_s):
            return await self.dispatcher.embed(
                route, asked, needs, deadline_s, Journal(), share=True
            )

    def is_usually_answered_in(self, seconds: float) -> None:
        """Every target's calls took so long until now, as far as its state knows."""
        for state in self.states.values():
            for _ in range(20):
                state.latency.observe(seconds, 0.0)

    def _report(self, name: str, standing: Standing, reason: str | None) -> None:
        self.reports.append((name, standing, reason))

    def calls(self, name: str) -> int:
        return len(self.upstreams[name].calls)
