"""Gets a batch its vectors: plan, split, attempts, fallback, bisection, and together again."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from router.dispatch.attempts import Caller, Errand
from router.dispatch.hedging import Hedge, hedged
from router.dispatch.sharing import Compute, Done, Shared, Sharing
from router.domain.clock import Clock
from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    UpstreamContractError,
    UpstreamError,
    UpstreamUnavailableError,
)
from router.domain.journal import Attempt, Fact, Journal
from router.domain.types import Float32Array, Route, TokenBatch
from router.routing.fallback import Remedy, judge
from router.routing.needs import Needs
from router.routing.plan import Plan, RoutePlan
from router.routing.retry_budget import RetryBudget
from router.routing.splitting import Part, halves, joined, split
from router.routing.targets import TargetState

# A target that failed is asked this often in all, where no other is left to ask.
_CALLS_A_TARGET = 2
_BACK_OFF_S = 0.05
_BUDGET_POLL_S = 0.02

# Told of a further call: route, target before it, kind (fallback, retry, hedge, split), its reason.
Reroute = Callable[[str, str, str, str], None]


@dataclass(frozen=True, slots=True)
class RouteCourse:
    """A route's plan, and after which quantile of latency a second target is asked as well."""

    plan: RoutePlan
    states: tuple[TargetState, ...]
    hedge: Hedge | None = None


@dataclass(frozen=True, slots=True)
class Dispatched:
    """Vectors (n, d) float32, who computed them, each attempt, and tokens that nobody computed."""

    vectors: Float32Array
    targets: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    saved_tokens: int


@dataclass(frozen=True, slots=True)
class _Run:
    """What all parts of a request share."""

    route: str
    course: RouteCourse
    errand: Errand
    done: Done

    def next(self, left_out: Collection[str]) -> TargetState | None:
        """The best target that is not left out, or None."""
        return next(self.course.plan.candidates(self.errand.needs, left_out), None)


@dataclass(frozen=True, slots=True)
class _Undone:
    """A part without vectors: what it failed with, or None where nobody was asked for it yet."""

    part: Part
    failure: EmbedwayError | None = None


class Dispatcher:
    """The one place where targets are called for a request."""

    def __init__(
        self,
        *,
        courses: Mapping[str, RouteCourse],
        caller: Caller,
        sharing: Sharing | None,
        budget: RetryBudget,
        clock: Clock,
        max_parallel_calls: int,
        rerouted: Reroute,
    ) -> None:
        """Take courses by route; no `sharing` computes everything anew."""
        self._rerouted = rerouted
        self._courses = courses
        self._caller = caller
        self._sharing = sharing
        self._budget = budget
        self._clock = clock
        self._max_parallel_calls = max_parallel_calls

    def explain(self, route: str, needs: Needs) -> Plan:
        """What would be done with a request, and why."""
        return self._courses[route].plan.explain(needs)

    async def embed(
        self,
        route: Route,
        batch: TokenBatch,
        needs: Needs,
        deadline_s: float,
        journal: Journal,
        *,
        share: bool,
    ) -> Dispatched:
        """Vectors of a batch; any EmbedwayError. `share` allows memory and company.

        Every call is noted in the `journal`, so that the caller knows of them where it fails too.
        """
        course = self._courses[route.name]
        has_choice = len(course.states) > 1
        errand = Errand(
            route.space, course.plan, needs, deadline_s, has_choice, batch.count, journal
        )

        async def compute(part: TokenBatch, done: Done) -> None:
            await self._compute(_Run(route.name, course, errand, done), part)

        if share and self._sharing is not None:
            shared = await self._shared(self._sharing, errand, batch, compute)
            return Dispatched(
                shared.vectors, shared.targets, tuple(journal.attempts), shared.saved_tokens
            )
        pieces: list[tuple[int, Float32Array]] = []
        targets: dict[str, None] = {}

        def done(start: int, vectors: Float32Array, target: str) -> None:
            pieces.append((start, vectors))
            targets[target] = None

        await compute(batch, done)
        vectors = joined(pieces, batch.count)
        return Dispatched(vectors, tuple(targets), tuple(journal.attempts), 0)

    async def _shared(
        self,
        sharing: Sharing,
        errand: Errand,
        batch: TokenBatch,
        compute: Compute,
    ) -> Shared:
        """With memory and company; the look-up is noted, up to where targets are asked."""
        lookup = errand.journal.phase("cache", self._clock)
        lookup.facts = (("inputs", batch.count), ("misses", 0))
        asked = 0

        async def missed(part: TokenBatch, done: Done) -> None:
            nonlocal asked
            lookup.end()
            asked += part.count
            lookup.facts = (("inputs", batch.count), ("misses", asked))
            await compute(part, done)

        with lookup:
            return await sharing.embed(errand.space, batch, missed, errand.way)

    async def _compute(self, run: _Run, batch: TokenBatch) -> None:
        """Cut the batch to what the first target takes, and see every part through."""
        state = self._plan(run)
        if state is None:
            raise _nobody(run)
        parts = split(batch, state.limits.max_inputs, state.limits.max_call_tokens)
        if len(parts) == 1:
            self._budget.first_call()
            await self._all_at_once(run, parts[0], state)
            return
        turns = asyncio.Semaphore(self._max_parallel_calls)

        async def one(part: Part) -> None:
            async with turns:
                self._budget.first_call()
                # By now another target may be the better one.
                await self._see_through(run, part, run.next(()) or state)

        outcomes = await asyncio.gather(*map(one, parts), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    def _plan(self, run: _Run) -> TargetState | None:
        """The first target, or None; a sampled trace, and one without a target, says why."""
        errand = run.errand
        with errand.journal.phase("plan", self._clock) as phase:
            state = run.next(())
            if errand.journal.is_sampled or state is None:
                phase.facts = _reasons(run, state)
        return state

    async def _all_at_once(self, run: _Run, part: Part, state: TargetState) -> None:
        """The common case, a request that fits one call: no more is done than has to be."""
        if run.course.hedge is not None:
            await self._see_through(run, part, state)
            return
        try:
            vectors = await self._caller.call(state, part.batch, run.errand)
        except EmbedwayError as error:
            failure = error
        else:
            run.done(0, vectors, state.name)
            return
        await self._see_through(run, part, state, failure=failure)

    async def _see_through(
        self,
        run: _Run,
        part: Part,
        state: TargetState,
        refused: frozenset[str] = frozenset(),
        *,
        undone: list[_Undone] | None = None,
        failure: EmbedwayError | None = None,
        reason: str = "first",
    ) -> None:
        """One part, from target to target until one answers or nothing can help any more.

        `refused` are targets that already refused a larger part that this one belongs to. Where
        given, `undone` takes what fails, in place of a look for the input that is at fault.
        `failure` is that of a first call to `state`; `reason` is an Attempt's.
        """
        calls: Counter[str] = Counter()
        next_state: TargetState | None = state
        if failure is not None:
            calls[state.name] += 1
            next_state = await self._after(failure, run, part, state, calls, refused)
        while next_state is not None:
            state = next_state
            if calls:
                reason = "retry" if state.name in calls else "fallback"
            pieces = split(part.batch, state.limits.max_inputs, state.limits.max_call_tokens)
            if len(pieces) > 1:
                # The part was cut for another target: this one takes less at a time.
                for piece in pieces:
                    inner = Part(part.start + piece.start, piece.batch)
                    if undone:
                        # One is enough to look into: whether the others are needed shows then.
                        undone.append(_Undone(inner))
                        continue
                    self._budget.first_call()
                    await self._see_through(
                        run, inner, state, refused, undone=undone, reason=reason
                    )
                return
            calls[state.name] += 1
            try:
                name, vectors = await self._call(run, state, part, reason)
            except EmbedwayError as error:
                failure = error
            else:
                run.done(part.start, vectors, name)
                return
            next_state = await self._after(failure, run, part, state, calls, refused)
        assert failure is not None
        if undone is not None and isinstance(failure, UpstreamError):
            undone.append(_Undone(part, failure))
        else:
            await self._give_up(failure, run, part, state, refused)

    async def _call(
        self, run: _Run, state: TargetState, part: Part, reason: str
    ) -> tuple[str, Float32Array]:
        """Vectors of a part and who gave them; hedged where the route says so."""
        if run.course.hedge is None or not run.errand.has_choice:
            return state.name, await self._caller.call(state, part.batch, run.errand, reason)

        def second() -> TargetState | None:
            other = run.next((state.name,))
            if other is None or not self._budget.take(self._clock.monotonic_s()):
                return None
            self._rerouted(run.route, state.name, "hedge", "slow")
            return other

        return await hedged(
            self._caller, run.course.hedge, state, second, part.batch, run.errand, reason
        )

    async def _after(
        self,
        error: EmbedwayError,
        run: _Run,
        part: Part,
        before: TargetState,
        calls: Counter[str],
        refused: frozenset[str],
    ) -> TargetState | None:
        """The target to ask after a failure, once the retry is paid for; None if none is left."""
        remedy = judge(error).remedy
        if remedy is Remedy.NOTHING:
            raise error
        # Who refused a larger part is asked about its single inputs only.
        closed = refused if part.batch.count > 1 else frozenset()
        with run.errand.journal.phase("plan", self._clock) as phase:
            state = run.next(calls.keys() | closed)
            phase.facts = _reasons(run, state)
        again = [name for name, times in calls.items() if times < _CALLS_A_TARGET]
        if state is None and remedy is Remedy.ANOTHER_TARGET_OR_LATER and again:
            await self._pause(_BACK_OFF_S, run.errand)
            state = run.next(calls.keys() - set(again) | closed)
        if state is not None:
            await self._pay(run.errand)
            kind = "retry" if state is before else "fallback"
            self._rerouted(run.route, before.name, kind, error.code)
        return state

    async def _give_up(
        self,
        error: EmbedwayError,
        run: _Run,
        part: Part,
        state: TargetState,
        refused: frozenset[str],
    ) -> None:
        """Halve a part that was refused until what is refused stands alone, and name that."""
        if judge(error).remedy is not Remedy.SMALLER_PARTS:
            raise error
        if part.batch.count == 1:
            if isinstance(error, UpstreamError) and run.errand.inputs > 1:
                error.position = part.start
            raise error
        refused |= {state.name}
        undone: list[_Undone] = []
        for half in halves(part):
            if not self._budget.take(self._clock.monotonic_s()):
                # Looking is a luxury: without room for it the whole part is told of.
                raise error
            self._rerouted(run.route, state.name, "split", error.code)
            left: list[_Undone] = []
            await self._see_through(run, half, state, refused, undone=left, reason="part")
            undone += left
        failures = sum(one.failure is not None for one in undone)
        if failures > 1 and isinstance(error, UpstreamContractError):
            # No input is at fault where both halves come back broken: the target is.
            raise error
        # From the very pieces that failed: what is beside them has its vectors. The first input
        # that is found is named; looking for all could cost two calls an input.
        for one in undone:
            if one.failure is not None:
                await self._give_up(one.failure, run, one.part, state, refused)
            else:
                self._budget.first_call()
                await self._see_through(run, one.part, state, refused, reason="part")

    async def _pay(self, errand: Errand) -> None:
        """Wait for the retry budget; DeadlineExceededError where it does not come in time."""
        while not self._budget.take(self._clock.monotonic_s()):
            await self._pause(_BUDGET_POLL_S, errand)

    async def _pause(self, seconds: float, errand: Errand) -> None:
        if self._clock.monotonic_s() + seconds >= errand.deadline_s:
            raise DeadlineExceededError("the deadline of the request has passed")
        await asyncio.sleep(seconds)


def _reasons(run: _Run, state: TargetState | None) -> tuple[Fact, ...]:
    """What a trace says of a choice."""
    choice = run.course.plan.why(run.errand.needs, state)
    target = "" if state is None else state.name
    return (("rule", choice.rule), ("target", target), ("reason", choice.reason),
            ("passed", choice.passed))  # fmt: skip


def _nobody(run: _Run) -> EmbedwayError:
    """Why there is no target to begin with."""
    resting = [state for state in run.course.states if state.is_up() and state.rest_s()]
    soonest = min(resting, key=TargetState.rest_s, default=None)
    if soonest is not None and soonest.rest_cause is not None:
        cause = soonest.rest_cause
        return type(cause)(str(cause), math.ceil(soonest.rest_s()))
    return UpstreamUnavailableError(
        f"no target of {run.route} is ready: it is starting or down, try again soon"
    )
