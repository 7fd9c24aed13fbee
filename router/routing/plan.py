"""Which targets of a route to try, in which order, and why."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from router.routing.needs import ALWAYS, Condition, Needs
from router.routing.strategies import Strategy
from router.routing.targets import TargetState

# A trace is read by people: of fifty targets that are down it need not name them all.
_MOST_REASONS = 8


@dataclass(frozen=True, slots=True)
class Course:
    """A strategy over some of a route's targets, taken where its condition holds."""

    name: str
    strategy: Strategy
    condition: Condition = ALWAYS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target and the reason for its place, or for having none."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was weighed: `course` is the rule that held, or "default"."""

    course: str
    candidates: tuple[Candidate, ...]
    excluded: tuple[Candidate, ...]


class Choice(NamedTuple):
    """Why a target was chosen, or none, by which rule; `passed` names those that cannot be."""

    rule: str
    reason: str
    passed: tuple[str, ...]


class RoutePlan:
    """Plans for one route: its rules in order, and the default course at the end."""

    def __init__(self, courses: tuple[Course, ...], cheapest_usd: float | None) -> None:
        """`cheapest_usd` is what a request costs at the cheapest target, per million tokens."""
        self._courses = courses
        self._cheapest_usd = cheapest_usd

    def candidates(self, needs: Needs, left_out: Collection[str] = ()) -> Iterator[TargetState]:
        """Targets to call, best first, looked at one by one; last resorts after all others.

        Near the end of a budget dearer targets come after the cheapest ones, whatever the strategy
        says of load; they still serve where no other is left, for a request is worth more.
        """
        course = self._course(needs)
        waiting: list[TargetState] = []
        dearer: list[TargetState] = []
        for state in course.strategy.order(needs.tokens):
            if state.name in left_out or self._misfit(state, needs) is not None:
                continue
            if not state.may_be_called():
                waiting.append(state)
            elif self._is_spared(state, needs):
                dearer.append(state)
            else:
                yield state
        yield from dearer
        for state in waiting:
            if state.is_last_resort():
                yield state

    def way(self, needs: Needs) -> object:
        """Equal for requests that would be sent to the same targets for the same reasons.

        Those go by one rule, near the end of a budget or not, and are fit for the same targets.
        """
        course = self._course(needs)
        order = course.strategy.order(needs.tokens)
        fit = frozenset(state.name for state in order if self._misfit(state, needs) is None)
        return course, needs.may_spend, fit

    def explain(self, needs: Needs) -> Plan:
        """The same with every reason, for people and traces."""
        course = self._course(needs)
        candidates, dearer, excluded = [], [], []
        for state in course.strategy.order(needs.tokens):
            obstacle = self._misfit(state, needs) or state.obstacle()
            if obstacle is not None:
                excluded.append(Candidate(state.name, obstacle))
            elif self._is_spared(state, needs):
                dearer.append(Candidate(state.name, "costs more, and the budget nears its end"))
            else:
                reason = course.strategy.reason(state, needs.tokens)
                candidates.append(Candidate(state.name, reason))
        return Plan(course.name, (*candidates, *dearer), tuple(excluded))

    def why(self, needs: Needs, chosen: TargetState | None) -> Choice:
        """The reasons for a choice that was just made, for traces: not more than a line of them."""
        course = self._course(needs)
        reason = "" if chosen is None else course.strategy.reason(chosen, needs.tokens)
        passed: list[str] = []
        for state in islice(course.strategy.order(needs.tokens), _MOST_REASONS):
            if state is not chosen:
                obstacle = self._misfit(state, needs) or state.obstacle()
                if obstacle is not None:
                    passed.append(f"{state.name}: {obstacle}")
        return Choice(course.name, reason, tuple(passed))

    def _course(self, needs: Needs) -> Course:
        for course in self._courses[:-1]:
            if course.condition.holds(needs):
                return course
        return self._courses[-1]

    def _misfit(self, state: TargetState, needs: Needs) -> str | None:
        """Why this request is none for the target, whatever its state."""
        limits = state.limits
        if not limits.takes_ids and not needs.has_texts:
            return "takes text only, and these ids are no text's own"
        if limits.max_input_tokens is not None and needs.longest > limits.max_input_tokens:
            return f"an input of {needs.longest} tokens is over its {limits.max_input_tokens}"
        return None

    def _is_spared(self, state: TargetState, needs: Needs) -> bool:
        """Whether money is short and this target is not among the cheapest."""
        if needs.may_spend or self._cheapest_usd is None:
            return False
        price_usd = state.limits.price_usd
        return price_usd is None or price_usd > self._cheapest_usd
