"""Figures of targets, routes and the memory of vectors, read from their own state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.domain.ports import Upstream
from router.policy.admission import Room
from router.routing.retry_budget import RetryBudget
from router.routing.targets import Standing, TargetState
from router.routing.verification import Record
from router.telemetry import metric_names as names
from router.telemetry.board import Board
from router.upstreams.packing import PackingUpstream
from router.vectors.memory import VectorMemory

# Between two measurements of throughput, and the busy time that one needs to tell anything.
_MEASURE_S = 0.9
_LEAST_BUSY_S = 0.02
# The best rate is believed half as much after this: models and machines change.
_HALF_LIFE_S = 600.0


@dataclass(frozen=True, slots=True)
class TargetView:
    """The state of a fleet: targets by name, routes with their targets, targets' spaces."""

    states: Mapping[str, TargetState]
    rooms: Mapping[str, Room]
    upstreams: Mapping[str, Upstream]
    records: Mapping[str, Record]
    spaces: Mapping[str, str]
    routes: Mapping[str, Sequence[str]]
    is_ready: Callable[[str], bool]
    budget: RetryBudget
    memory: VectorMemory


@dataclass(slots=True)
class Throughput:
    """Tokens a second while busy: the best stretch of late."""

    tokens: int = 0
    busy_s: float = 0.0
    measured_s: float = float("-inf")
    best: float = 0.0

    def measure(self, tokens: int, busy_s: float, now_s: float) -> float:
        """Take the totals at a moment of the monotonic clock; the rate, 0 where none is known."""
        since_s = now_s - self.measured_s
        if since_s < _MEASURE_S:
            return self.best
        computed, busy = tokens - self.tokens, busy_s - self.busy_s
        self.best *= 0.5 ** (since_s / _HALF_LIFE_S)
        if computed > 0 and busy >= _LEAST_BUSY_S:
            self.best = max(self.best, computed / busy)
        self.tokens, self.busy_s, self.measured_s = tokens, busy_s, now_s
        return self.best


class TargetObserver:
    """Looks at a fleet."""

    def __init__(self, view: Callable[[], TargetView], monotonic_s: Callable[[], float]) -> None:
        """`view` gives the fleet of the configuration in service."""
        self._view = view
        self._monotonic_s = monotonic_s
        self._throughputs: dict[str, Throughput] = {}

    def look(self, board: Board) -> None:
        """Tell everything."""
        view, now_s = self._view(), self._monotonic_s()
        for name, state in view.states.items():
            self._target(board, view, name, state, now_s)
        for route, targets in view.routes.items():
            states = [view.states[target] for target in targets]
            board.tell(names.ROUTE_TARGETS, len(states), route)
            board.tell(names.ROUTE_CALLABLE, sum(one.may_be_called() for one in states), route)
            board.tell(names.ROUTE_OPEN, sum(not s.breaker.is_closed for s in states), route)
        for name, record in view.records.items():
            if record.last is not None:
                space = view.spaces[name]
                board.tell(names.AGREEMENT_COSINE, record.last.least_cosine, space, name)
                board.tell(names.AGREEMENT_RANK, record.last.rank_agreement, space, name)
        board.tell(names.RETRY_BALANCE, view.budget.balance)
        board.follow(names.CACHE_LOOKUPS, view.memory.hits, "hit")
        board.follow(names.CACHE_LOOKUPS, view.memory.misses, "miss")
        board.tell(names.CACHE_BYTES, view.memory.bytes)
        board.tell(names.CACHE_ENTRIES, len(view.memory))

    def _target(
        self, board: Board, view: TargetView, name: str, state: TargetState, now_s: float
    ) -> None:
        space, room = view.spaces[name], view.rooms[name]
        board.tell(names.TARGET_READY, view.is_ready(name), name, space)
        for standing in Standing:
            is_so = state.standing is standing
            board.tell(names.TARGET_STANDING, is_so, name, space, standing.value)
        board.tell(names.BREAKER_OPEN, not state.breaker.is_closed, name)
        board.tell(names.RESTING, state.rest_s(), name)
        board.tell(names.IN_FLIGHT_REQUESTS, room.requests, name)
        board.tell(names.IN_FLIGHT_TOKENS, room.tokens, name)
        throughput = self._throughputs.setdefault(name, Throughput())
        rate = throughput.measure(state.tokens, state.busy_s(), now_s)
        board.tell(names.THROUGHPUT, rate, name)
        board.follow(names.TARGET_TOKENS, state.tokens, name)
        if state.billed_tokens:
            board.follow(names.TARGET_COUNTED, state.counted_tokens, name)
            board.follow(names.TARGET_BILLED, state.billed_tokens, name)
        if state.limits.price_usd is not None:
            board.tell(names.TARGET_PRICE, state.limits.price_usd, name)
        upstream = view.upstreams[name]
        if isinstance(upstream, PackingUpstream):
            board.follow(names.BATCH_CALLS, upstream.calls, name)
            board.follow(names.BATCH_MEMBERS, upstream.members, name)
            tokens, places = upstream.padding
            if places:
                board.follow(names.BATCH_REAL, tokens, name)
                board.follow(names.BATCH_PADDED, places, name)
