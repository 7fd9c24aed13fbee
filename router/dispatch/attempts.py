"""One attempt: one call to one target, with everything that has to be told of it afterwards."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from router.domain.clock import Clock
from router.domain.errors import DeadlineExceededError, EmbedwayError
from router.domain.ports import Upstream
from router.domain.types import Attempt, Float32Array, Space, TokenBatch
from router.policy.admission import Room
from router.routing.needs import Needs
from router.routing.plan import RoutePlan
from router.routing.targets import Standing, TargetState
from router.vectors.checks import require_contract, require_distinct

# A caller in a hurry proves nothing about a target: shorter waits do not count against it.
_PATIENCE_S = 0.5

# (target, its new standing, why)
Report = Callable[[str, Standing, str | None], None]


@dataclass(slots=True)
class Errand:
    """A request on its way through the targets of its route; all its parts share one."""

    space: Space
    plan: RoutePlan
    needs: Needs
    deadline_s: float
    has_choice: bool
    inputs: int
    attempts: list[Attempt] = field(default_factory=list)


class Caller:
    """Calls targets and keeps their states."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        rooms: Mapping[str, Room],
        clock: Clock,
        report: Report,
    ) -> None:
        """`report` hears of a target that answered with vectors of another space."""
        self._upstreams = upstreams
        self._rooms = rooms
        self._clock = clock
        self._report = report

    async def call(self, state: TargetState, batch: TokenBatch, errand: Errand) -> Float32Array:
        """Vectors (n, d) float32 that meet the output contract; any EmbedwayError."""
        room = self._rooms[state.name]
        room.enter(batch.total)
        state.started(batch.total)
        started_s = self._clock.monotonic_s()
        outcome = "cancelled"
        try:
            vectors = await self._upstreams[state.name].embed(
                batch, _timeout_s(state, errand, started_s)
            )
            require_contract(vectors, batch.count, errand.space.dimensions)
            require_distinct(vectors, batch)
            state.succeeded(batch.total, self._clock.monotonic_s() - started_s)
            outcome = "ok"
        except EmbedwayError as error:
            outcome = error.code
            self._failed(state, batch, error, started_s)
            raise
        except asyncio.CancelledError:
            self._left(state, batch, errand, started_s)
            raise
        except BaseException:
            state.abandoned(batch.total)
            raise
        finally:
            room.leave(batch.total)
            ms = (self._clock.monotonic_s() - started_s) * 1000
            errand.attempts.append(Attempt(state.name, outcome, ms, batch.count, batch.total))
        return vectors

    def _failed(
        self, state: TargetState, batch: TokenBatch, error: EmbedwayError, started_s: float
    ) -> None:
        waited_s = self._clock.monotonic_s() - started_s
        if isinstance(error, DeadlineExceededError) and waited_s < _PATIENCE_S:
            state.abandoned(batch.total)
            return
        before = state.standing
        state.failed(batch.total, waited_s, error)
        if state.standing is not before:
            self._report(state.name, state.standing, str(error))

    def _left(
        self, state: TargetState, batch: TokenBatch, errand: Errand, started_s: float
    ) -> None:
        """The caller left, or its time was over: then the target is to blame as after a timeout."""
        if self._clock.monotonic_s() >= errand.deadline_s:
            late = DeadlineExceededError("the target did not answer in time")
            self._failed(state, batch, late, started_s)
        else:
            state.abandoned(batch.total)


def _timeout_s(state: TargetState, errand: Errand, now_s: float) -> float:
    """All the time there is, or the target's share of it where another could be asked after it."""
    remaining_s = errand.deadline_s - now_s
    return min(remaining_s, state.limits.timeout_s) if errand.has_choice else remaining_s
