"""What a fleet takes over from the one before it: everything about what has not changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.config.settings import Settings
from router.deployments import Identity
from router.dispatch.prober import Prober
from router.dispatch.shared_tier import SharedTier
from router.dispatch.sharing import Sharing
from router.domain.ports import Upstream
from router.domain.types import Target
from router.policy.admission import Room
from router.routing.breaker import BreakerLimits
from router.routing.retry_budget import RetryBudget
from router.routing.targets import Standing, TargetLimits, TargetState
from router.vectors.memory import VectorMemory


@dataclass(frozen=True, slots=True)
class Estate:
    """What a fleet is made of, by target where there is one for each.

    `connections` are the bare upstreams, without what may stand in front of them.
    """

    settings: Settings
    identities: Mapping[str, Identity]
    states: Mapping[str, TargetState]
    connections: Mapping[str, Upstream]
    rooms: Mapping[str, Room]
    memory: VectorMemory
    sharing: Sharing | None
    tier: SharedTier | None
    budget: RetryBudget
    prober: Prober


class Inheritance:
    """Hands parts of an estate, if there is one, to a fleet of other settings."""

    def __init__(
        self, estate: Estate | None, settings: Settings, identities: Mapping[str, Identity]
    ) -> None:
        self._estate = estate
        self._settings = settings
        self._identities = identities
        before: Mapping[str, Identity] = estate.identities if estate is not None else {}
        self.carried = frozenset(
            name for name, one in identities.items() if before.get(name) == one
        )
        """Targets whose connection goes on, with all that is known of them."""

    @property
    def prober(self) -> Prober | None:
        """The prober before."""
        return self._estate.prober if self._estate is not None else None

    def connection(self, name: str) -> Upstream | None:
        """The target's connection, if it goes on."""
        if self._estate is None or name not in self.carried:
            return None
        return self._estate.connections[name]

    def state(
        self,
        name: str,
        limits: TargetLimits,
        breaker: BreakerLimits,
        make: Callable[[], TargetState],
    ) -> TargetState:
        """The target's state, with these limits; a new one where the connection is new.

        Another key, or other calls, to the same model: its vectors are the same.
        """
        estate = self._estate
        if estate is None:
            return make()
        if name in self.carried:
            state = estate.states[name]
            state.limits, state.breaker.limits = limits, breaker
            return state
        state, before = make(), estate.identities.get(name)
        if before is not None and before.deployment == self._identities[name].deployment:
            # One object for both: who finds it wrong finds it wrong for calls under way there, too.
            state.trust = estate.states[name].trust
            state.latency = estate.states[name].latency
            state.figures = estate.states[name].figures
        return state

    def room(self, target: Target) -> Room:
        """The room at a target, with those who are in it."""
        if self._estate is None or target.name not in self.carried:
            return Room(target)
        room = self._estate.rooms[target.name]
        room.target = target
        return room

    def memory(
        self, tier: SharedTier | None
    ) -> tuple[VectorMemory, Sharing | None, SharedTier | None]:
        """The memory of vectors, what is under way, and the tier, where their settings stand.

        `tier` is the one to take where they do not.
        """
        estate, cache = self._estate, self._settings.cache
        if estate is not None and estate.settings.cache == cache:
            return estate.memory, estate.sharing, estate.tier
        memory = VectorMemory(cache.max_bytes)
        if not (cache.max_bytes or cache.share_in_flight or tier):
            return memory, None, None
        return memory, Sharing(memory, tier, in_flight=cache.share_in_flight), tier

    def budget(self) -> RetryBudget:
        """The budget of retries, where its settings stand."""
        fallback, estate = self._settings.fallback, self._estate
        if estate is not None:
            before = estate.budget
            if (before.ratio, before.per_s) == (fallback.retry_ratio, fallback.retries_per_s):
                return before
        return RetryBudget(fallback.retry_ratio, fallback.retries_per_s)

    def proves(self, space: str) -> bool:
        """Whether the space's vectors are known."""
        return self._estate is not None and self._estate.prober.knows(space)

    def proven(self, names: list[str]) -> str | None:
        """The first of the targets that serves already: a new one must not redefine its space."""
        estate = self._estate
        if estate is None:
            return None
        serving = (
            name
            for name in names
            if name in self.carried and estate.states[name].standing is Standing.VERIFIED
        )
        return next(serving, None)
