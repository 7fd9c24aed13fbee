"""One attempt: one call to one target, with everything that has to be told of it afterwards."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.domain.clock import Clock
from router.domain.errors import DeadlineExceededError, EmbedwayError, UpstreamSpaceError
from router.domain.journal import Attempt, Journal
from router.domain.ports import Upstream
from router.domain.types import Float32Array, Space, TokenBatch
from router.policy.admission import Room
from router.routing.needs import Needs
from router.routing.plan import RoutePlan
from router.routing.targets import Standing, TargetState
from router.vectors.checks import require_contract, require_distinct

# A caller in a hurry proves nothing about a target: shorter waits do not count against it.
_PATIENCE_S = 0.5
FOUND_WRONG = "the target was found to answer vectors of another space"

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
    journal: Journal
    _way: object = None

    def way(self) -> object:
        """As RoutePlan.way; found out once, and only where it is asked for."""
        if self._way is None:
            self._way = self.plan.way(self.needs)
        return self._way


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

    async def call(
        self, state: TargetState, batch: TokenBatch, errand: Errand, reason: str = "first"
    ) -> Float32Array:
        """Vectors (n, d) float32 that meet the output contract; any EmbedwayError.

        UpstreamSpaceError where the target was found wrong meanwhile, whatever it answered: all
        that it had computed was forgotten then, and nothing of it may come in afterwards.
        `reason` is an Attempt's.
        """
        room = self._rooms[state.name]
        room.enter(batch.total)
        number = state.started(batch.total)
        started_s = self._clock.monotonic_s()
        quarantines = state.trust.quarantines
        outcome = "cancelled"
        call = errand.journal.call()
        try:
            vectors = await self._upstreams[state.name].embed(
                batch, _timeout_s(state, errand, started_s), call
            )
            require_contract(vectors, batch.count, errand.space.dimensions)
            require_distinct(vectors, batch)
            if state.trust.quarantines == quarantines:
                state.succeeded(number, batch.total, self._clock.monotonic_s() - started_s)
                outcome = "ok"
            else:
                # Not a failure: it may be back by now, and would be put out for what it did before.
                state.abandoned(number, batch.total)
                outcome = UpstreamSpaceError.code
        except EmbedwayError as error:
            outcome = error.code
            self._failed(state, number, batch, error, started_s)
            raise
        except asyncio.CancelledError:
            self._left(state, number, batch, errand, started_s)
            raise
        except BaseException:
            state.abandoned(number, batch.total)
            raise
        finally:
            room.leave(batch.total)
            ms = (self._clock.monotonic_s() - started_s) * 1000
            size = (batch.count, batch.total)
            attempt = Attempt(state.name, outcome, ms, *size, started_s, reason, call)
            errand.journal.attempts.append(attempt)
        if outcome != "ok":
            raise UpstreamSpaceError(FOUND_WRONG)
        return vectors

    def _failed(
        self,
        state: TargetState,
        number: int,
        batch: TokenBatch,
        error: EmbedwayError,
        started_s: float,
    ) -> None:
        waited_s = self._clock.monotonic_s() - started_s
        if isinstance(error, DeadlineExceededError) and waited_s < _PATIENCE_S:
            state.abandoned(number, batch.total)
            return
        before = state.standing
        state.failed(number, batch.total, waited_s, error)
        if state.standing is not before:
            self._report(state.name, state.standing, str(error))

    def _left(
        self, state: TargetState, number: int, batch: TokenBatch, errand: Errand, started_s: float
    ) -> None:
        """The caller left, or its time was over: then the target is to blame as after a timeout."""
        if self._clock.monotonic_s() >= errand.deadline_s:
            late = DeadlineExceededError("the target did not answer in time")
            self._failed(state, number, batch, late, started_s)
        else:
            state.abandoned(number, batch.total)


def _timeout_s(state: TargetState, errand: Errand, now_s: float) -> float:
    """All the time there is, or the target's share of it where another could be asked after it."""
    remaining_s = errand.deadline_s - now_s
    return min(remaining_s, state.limits.timeout_s) if errand.has_choice else remaining_s
