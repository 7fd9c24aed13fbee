"""The targets of a configuration, wired: states, plans, the watch over them.

Apart from `app.py`, because `embedway verify`, `explain` and `compare` need a fleet without doors.
A fleet may follow another: targets that are the same in both go on as they are.
"""

import asyncio
import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict

from router.config.domain_of import targets_of
from router.config.settings import Settings, TargetSettings
from router.deployments import Deployments
from router.dispatch import references
from router.dispatch.attempts import Caller
from router.dispatch.courses import breaker_of, course_of, limits_of
from router.dispatch.dispatcher import Dispatcher, Reroute
from router.dispatch.prober import Prober, WatchedSpace
from router.dispatch.reports import account_of
from router.dispatch.shared_tier import SharedTier
from router.dispatch.tiers import tier_of
from router.domain.clock import Clock
from router.domain.ports import Tokenizer, Upstream
from router.domain.reports import TargetAccount
from router.domain.types import Space, TokenBatch
from router.inheritance import Estate, Inheritance
from router.routing.targets import Standing, TargetState
from router.routing.verification import Tolerance
from router.telemetry.logs import Log
from router.text.golden import canary_batch, golden_batches
from router.text.tokenizer import HuggingFaceTokenizer
from router.upstreams.canary import CanaryUpstream
from router.upstreams.health import HealthWatch

# How often the log tells what each target did.
_FIGURES_EVERY_S = 60.0


class Fleet:
    """Every target, and the dispatcher that calls them."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        spaces: Mapping[str, Space],
        tokenizers: Mapping[str, Tokenizer],
        clock: Clock,
        log: Log,
        previous: "Fleet | None" = None,
        rerouted: Reroute = lambda *_: None,
    ) -> None:
        """ConfigurationError where a key or a reference file is missing, and nothing is changed.

        Otherwise the states of `previous` that go on obey these settings from now on. Needs a
        running loop.
        """
        self._settings = settings
        self._log = log
        self._rerouted = rerouted
        self._clock = clock
        self._spaces = spaces
        self.tokenizers = tokenizers
        self._deployments = Deployments(settings, environment, spaces, clock)
        self._identities = {name: self._deployments.identity(name) for name in settings.targets}
        self._canaries = {
            name: canary_batch(spaces[name], tokenizers[name])
            for name in {t.space for t in settings.targets.values() if t.is_provider and t.canary}
        }
        known = self._known_references()
        cache_before = previous.settings.cache if previous is not None else None
        tier = None if cache_before == settings.cache else self._new_tier(environment)
        # From here on nothing fails.
        self._previous = previous
        estate = previous.estate() if previous is not None else None
        self._inheritance = Inheritance(estate, settings, self._identities)
        self.memory, self._sharing, self.tier = self._inheritance.memory(tier)
        self.budget = self._inheritance.budget()
        self.states = {name: self._state(name, one) for name, one in settings.targets.items()}
        self._bare = {name: self._upstream(name) for name in settings.targets}
        self.rooms = {n: self._inheritance.room(one) for n, one in targets_of(settings).items()}
        self.watched, lone = self._watched(known)
        self.prober = Prober(
            self.watched,
            self._bare,
            self.states,
            self.is_ready,
            self._report_standing,
            self._inheritance.prober,
            self._inheritance.carried,
            lone,
        )
        self.upstreams = {
            name: self._guarded(one, self._bare[name]) for name, one in settings.targets.items()
        }
        self.watch = HealthWatch(self.upstreams, self._report_target)
        self.dispatcher = self._dispatcher()
        self._teller: asyncio.Task[None] | None = None

    def is_ready(self, name: str) -> bool:
        """Whether the target last said that it is ready."""
        return self.watch.is_ready(name)

    def knows_targets(self) -> bool:
        """Whether every target was asked how it is."""
        return self.watch.has_asked_all

    def space_of(self, name: str) -> Space:
        """The space that a target serves."""
        return self._spaces[self._settings.targets[name].space]

    def assume_well(self) -> None:
        """Take every target for ready and verified, for a look at plans without calling anybody."""
        self.watch.assume_ready()
        for state in self.states.values():
            state.standing = Standing.VERIFIED

    def is_up(self, name: str) -> bool:
        """Whether it is ready and found to be of its space."""
        return self.states[name].is_up()

    async def start(self) -> None:
        """Watch the targets from now on, in the place of the fleet before."""
        before, self._previous = self._previous, None
        if before is not None:
            carried = self._inheritance.carried
            self.watch.assume({name: before.is_ready(name) for name in carried})
            for name in carried:
                self.states[name].is_ready = self.is_ready
            await before.stop()
        self.watch.start()
        self.prober.start()
        if self.tier is not None:
            self.tier.serve(
                {name: target.space for name, target in self._settings.targets.items()},
                lambda name: self.states[name].standing is Standing.VERIFIED,
            )
        self._teller = asyncio.get_running_loop().create_task(self._tell())

    async def stop(self) -> None:
        """Stop watching; requests under way can still be seen through."""
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)
        await self.prober.close()
        await self.watch.close()

    async def close(self, kept: Collection[int] = ()) -> None:
        """Stop watching, and close every connection that is not `kept` by another fleet."""
        await self.stop()
        if not kept:
            calls = self.budget
            self._log.event("calls", first_calls=calls.first_calls, retries=calls.retries)
        if self.tier is not None and id(self.tier) not in kept:
            await self.tier.close()
        for name, upstream in self.upstreams.items():
            if id(self._bare[name]) not in kept:
                await upstream.close()

    def estate(self) -> Estate:
        """What it is made of, for a fleet that takes its place."""
        return Estate(
            settings=self._settings,
            identities=self._identities,
            states=self.states,
            connections=self._bare,
            rooms=self.rooms,
            memory=self.memory,
            sharing=self._sharing,
            tier=self.tier,
            budget=self.budget,
            prober=self.prober,
        )

    @property
    def connections(self) -> frozenset[int]:
        """Its connections, by the identity of their objects."""
        return frozenset(map(id, (*self._bare.values(), self.tier)))

    @property
    def settings(self) -> Settings:
        """The configuration that it is of."""
        return self._settings

    def figures(self) -> Iterator[dict[str, str | float | None]]:
        """What each target did so far, in the terms of `embedway compare`."""
        for name, state in self.states.items():
            p50_s, p99_s = state.latency.quantile_s(0.5), state.latency.quantile_s(0.99)
            yield {
                "target": name,
                "standing": state.standing.value,
                "calls": state.calls,
                "failures": state.failures,
                "tokens": state.tokens,
                "billed_tokens": state.billed_tokens,
                "p50_ms": None if p50_s is None else round(p50_s * 1000, 1),
                "p99_ms": None if p99_s is None else round(p99_s * 1000, 1),
                "usd_per_million_tokens": state.limits.price_usd,
            }

    def accounts(self) -> list[TargetAccount]:
        """How each target stands and what it did in the last minutes, by name."""
        routes: dict[str, list[str]] = {name: [] for name in self.states}
        for route, settings in self._settings.routes.items():
            for name in settings.targets:
                routes[name].append(route)
        records, now_s = self.prober.records, self._clock.monotonic_s()
        return [
            account_of(state, self.space_of(name).name, routes[name], records.get(name), now_s)
            for name, state in sorted(self.states.items())
        ]

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_FIGURES_EVERY_S)
            for figures in self.figures():
                if figures["calls"]:
                    self._log.event("figures", **figures)
            if self.tier is not None:
                self._log.event("shared_cache_figures", **asdict(self.tier.counts))

    def _dispatcher(self) -> Dispatcher:
        settings = self._settings
        # Chance here spreads load; nobody gains from guessing it.
        chance = random.Random()  # noqa: S311
        return Dispatcher(
            courses={
                name: course_of(route, [self.states[target] for target in route.targets], chance)
                for name, route in settings.routes.items()
            },
            caller=Caller(self.upstreams, self.rooms, self._clock, self._report_standing),
            sharing=self._sharing,
            budget=self.budget,
            clock=self._clock,
            max_parallel_calls=settings.fallback.max_parallel_calls,
            rerouted=self._rerouted,
        )

    def _new_tier(self, environment: Mapping[str, str]) -> SharedTier | None:
        shared, log = self._settings.cache.shared, self._log
        if shared is None:
            return None

        # It outlives this fleet, where the next one takes it over.
        def report(reachable: bool, reason: str | None) -> None:
            log.event("shared_cache", reachable=reachable, reason=reason)

        return tier_of(shared, environment, self._clock, report)

    def _state(self, name: str, target: TargetSettings) -> TargetState:
        limits = limits_of(target, self._deployments.profile(target), self._canary_of(target))
        breaker = breaker_of(self._settings.fallback)

        def make() -> TargetState:
            return TargetState(name, limits, breaker, self.is_ready, self._clock.monotonic_s)

        state = self._inheritance.state(name, limits, breaker, make)
        if not self._settings.spaces[target.space].verification.enabled:
            state.standing = Standing.VERIFIED
        return state

    def _upstream(self, name: str) -> Upstream:
        carried = self._inheritance.connection(name)
        return carried or self._deployments.upstream(name, self.states[name])

    def _canary_of(self, target: TargetSettings) -> TokenBatch | None:
        return self._canaries.get(target.space) if target.is_provider and target.canary else None

    def _guarded(self, target: TargetSettings, upstream: Upstream) -> Upstream:
        canary = self._canary_of(target)
        verification = self._settings.spaces[target.space].verification
        if canary is None or not verification.enabled:
            return upstream
        return CanaryUpstream(
            upstream, canary, lambda: self.prober.canary(target.space), verification.min_cosine
        )

    def _known_references(self) -> dict[str, references.Reference]:
        """Golden batches of each verified space, with its reference vectors where a file has them.

        ConfigurationError where a file does not fit.
        """
        found = {}
        for name, space in self._spaces.items():
            verification = self._settings.spaces[name].verification
            if verification.enabled:
                batches = golden_batches(space, self.tokenizers[name])
                path = verification.reference_file
                vectors = references.load(path, batches, space.dimensions) if path else None
                found[name] = references.Reference(batches, vectors)
        return found

    def _watched(
        self, known: Mapping[str, references.Reference]
    ) -> tuple[list[WatchedSpace], list[WatchedSpace]]:
        """Spaces where there is something to compare, or a canary whose vector must be known.

        Then the others: their one target is trusted.
        """
        watched: list[WatchedSpace] = []
        lone: list[WatchedSpace] = []
        for name, golden in known.items():
            space = self._spaces[name]
            targets = [one for one, t in self._settings.targets.items() if t.space == name]
            verification = self._settings.spaces[name].verification
            if not targets:
                continue
            is_alone = self._is_alone(name, targets)
            if is_alone:
                self.states[targets[0]].standing = Standing.VERIFIED
            (lone if is_alone else watched).append(
                WatchedSpace(
                    space=space,
                    batches=golden.batches,
                    targets=tuple(targets),
                    reference=self._reference(name, targets),
                    tolerance=Tolerance(
                        verification.min_cosine,
                        verification.min_rank_agreement,
                        verification.max_norm_error,
                    ),
                    interval_s=verification.interval_s,
                    known=golden.vectors,
                )
            )
        return watched, lone

    def _is_alone(self, space: str, targets: list[str]) -> bool:
        """Whether there is nothing that the space's one target could be held against."""
        if len(targets) > 1 or space in self._canaries:
            return False
        if self._settings.spaces[space].verification.reference_file:
            return False
        return not self._inheritance.proves(space)

    def _reference(self, space: str, targets: list[str]) -> str:
        """The target that defines the space: the one that is named, or one that serves it."""
        named = self._settings.spaces[space].verification.reference
        return named or self._inheritance.proven(targets) or targets[0]

    def _report_target(self, name: str, ready: bool) -> None:
        self._log.event("target", target=name, ready=ready)

    def _report_standing(self, name: str, standing: Standing, reason: str | None) -> None:
        """A target joined its space or was put out; then nothing it computed is trusted."""
        forgotten = 0
        if standing is Standing.QUARANTINED:
            forgotten = self.memory.forget(name)
            self.prober.alarm(name)
        if self.tier is not None:
            is_wrong = standing is Standing.QUARANTINED
            self.tier.heard(self.space_of(name), name, is_wrong=is_wrong)
        self._log.event(
            "standing",
            target=name,
            space=self._settings.targets[name].space,
            standing=standing.value,
            reason=reason,
            forgotten=forgotten,
        )


def tokenizers_of(
    settings: Settings,
    before: Settings | None = None,
    loaded: Mapping[str, Tokenizer] | None = None,
) -> dict[str, Tokenizer]:
    """The tokenizer of each space; ConfigurationError where one is missing.

    Those that are the same in the settings `before` are taken from what is `loaded`.
    """

    def one(name: str) -> Tokenizer:
        space = settings.spaces[name]
        source = (space.tokenizer, space.model, space.revision)
        known = before.spaces.get(name) if before is not None else None
        same = known is not None and (known.tokenizer, known.model, known.revision) == source
        if same and loaded is not None:
            return loaded[name]
        return HuggingFaceTokenizer.load(*source)

    return {name: one(name) for name in settings.spaces}
