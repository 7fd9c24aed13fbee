"""In which order a route's targets are asked.

Orders are lazy: finding the first costs the same with fifty targets as with one.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from router.routing.targets import TargetState

Random = Callable[[], float]


def _price(state: TargetState) -> float:
    # An unknown price is the highest: nobody is sent there to save money.
    return math.inf if state.limits.price_usd is None else state.limits.price_usd


class Priority:
    """As they are written."""

    def __init__(self, states: Sequence[TargetState]) -> None:
        self._states = tuple(states)

    def order(self, tokens: int) -> Iterator[TargetState]:
        """The written order."""
        del tokens
        return iter(self._states)

    def reason(self, state: TargetState, tokens: int) -> str:
        """Its place."""
        del tokens
        return f"number {self._states.index(state) + 1} in the route's order"


@dataclass
class Cheapest:
    """By price, dearer ones last; past one whose calls are predicted to take too long.

    By the latency that it has shown, and by the tokens in flight there at the rate that it gives.
    """

    states: Sequence[TargetState]
    spill_over_s: float = math.inf
    _sorted: tuple[TargetState, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._sorted = tuple(sorted(self.states, key=_price))

    def order(self, tokens: int) -> Iterator[TargetState]:
        """Cheap and quick enough first, then cheap."""
        del tokens
        late: list[TargetState] = []
        for state in self._sorted:
            if state.predicted_wait_s() > self.spill_over_s:
                late.append(state)
            else:
                yield state
        yield from late

    def reason(self, state: TargetState, tokens: int) -> str:
        """Its price, and its predicted wait where that is too long."""
        del tokens
        price = state.limits.price_usd
        text = "price unknown" if price is None else f"{price:g} USD per million tokens"
        if state.predicted_wait_s() > self.spill_over_s:
            text += f", predicted to take {state.predicted_wait_s():.2f} s: passed over"
        return text


class Weighted:
    """By chance, in proportion to their weights; the rest follow by weight."""

    def __init__(self, states: Sequence[TargetState], random: Random) -> None:
        """`random` gives numbers in [0, 1)."""
        self._states = tuple(sorted(states, key=lambda state: -state.limits.weight))
        self._sums = list(itertools.accumulate(state.limits.weight for state in self._states))
        self._random = random

    def order(self, tokens: int) -> Iterator[TargetState]:
        """One by chance, then the others, heaviest first."""
        del tokens
        place = bisect.bisect(self._sums, self._random() * self._sums[-1])
        drawn = self._states[min(place, len(self._states) - 1)]
        yield drawn
        for state in self._states:
            if state is not drawn:
                yield state

    def reason(self, state: TargetState, tokens: int) -> str:
        """Its weight among all."""
        del tokens
        return f"weight {state.limits.weight:g} of {self._sums[-1]:g}"


class Fastest:
    """By peak latency and tokens in flight: the better of two drawn by chance, then all by load.

    Two choices (Mitzenmacher 2001) keep a crowd from rushing to the one that was fastest.
    """

    def __init__(self, states: Sequence[TargetState], random: Random) -> None:
        """`random` gives numbers in [0, 1)."""
        self._states = tuple(states)
        self._random = random

    def order(self, tokens: int) -> Iterator[TargetState]:
        """The better of two, then the rest by load."""
        count = len(self._states)
        first = self._states[int(self._random() * count)]
        second = self._states[int(self._random() * count)]
        better = min(first, second, key=lambda state: state.load(tokens))
        yield better
        for state in sorted(self._states, key=lambda state: state.load(tokens)):
            if state is not better:
                yield state

    def reason(self, state: TargetState, tokens: int) -> str:
        """What its load is made of."""
        del tokens
        return (
            f"peak latency {state.predicted_s() * 1000:.0f} ms, "
            f"{state.tokens_in_flight} tokens in flight"
        )


Strategy = Priority | Cheapest | Weighted | Fastest


def make_strategy(
    name: str, states: Sequence[TargetState], *, spill_over_s: float, random: Random
) -> Strategy:
    """The strategy of that name: priority, cheapest, weighted or fastest."""
    if name == "cheapest":
        return Cheapest(states, spill_over_s)
    if name == "weighted":
        return Weighted(states, random)
    if name == "fastest":
        return Fastest(states, random)
    return Priority(states)
