"""The targets of a configuration, built and wired: upstreams, states, plans, the watch over them.

Apart from `app.py`, because `embedway verify`, `explain` and `compare` need a fleet without doors.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping

from router.config.domain_of import targets_of
from router.config.load import provider_secret
from router.config.profiles import ProfileSettings, profiles_of
from router.config.settings import Settings, TargetSettings
from router.dispatch import references
from router.dispatch.attempts import Caller
from router.dispatch.courses import breaker_of, course_of, limits_of
from router.dispatch.dispatcher import Dispatcher
from router.dispatch.prober import Prober, WatchedSpace
from router.dispatch.sharing import Sharing
from router.domain.clock import Clock
from router.domain.ports import TargetReports, Tokenizer, Upstream
from router.domain.types import Space, TokenBatch
from router.policy.admission import Room
from router.routing.retry_budget import RetryBudget
from router.routing.targets import Standing, TargetState
from router.routing.verification import Tolerance
from router.telemetry.logs import Log
from router.text.golden import canary_batch, golden_batches
from router.text.tokenizer import HuggingFaceTokenizer
from router.upstreams.canary import CanaryUpstream
from router.upstreams.cohere import CohereDialect
from router.upstreams.fake import FakeUpstream
from router.upstreams.health import HealthWatch
from router.upstreams.openai_compatible import OpenAIDialect
from router.upstreams.packing import PackingUpstream
from router.upstreams.padding import Profile
from router.upstreams.provider import Dialect, Endpoint, ProviderUpstream
from router.upstreams.triton import TritonUpstream
from router.upstreams.triton_padded import TritonPaddedUpstream
from router.upstreams.voyage import VoyageDialect
from router.vectors.memory import VectorMemory

# How often the log tells what each target did.
_FIGURES_EVERY_S = 60.0
_DIALECTS: dict[str, type[Dialect]] = {
    "openai": OpenAIDialect,
    "cohere": CohereDialect,
    "voyage": VoyageDialect,
}


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
    ) -> None:
        """ConfigurationError where a key or a reference file is missing. Needs a running loop."""
        self._settings = settings
        self._log = log
        self._clock = clock
        self._profiles = profiles_of(settings.profiles)
        self._spaces = spaces
        self.tokenizers = tokenizers
        self.memory = VectorMemory(settings.cache.max_bytes)
        self._canaries = {
            name: canary_batch(spaces[name], tokenizers[name])
            for name in {t.space for t in settings.targets.values() if t.is_provider and t.canary}
        }
        self.states = {name: self._state(name, one) for name, one in settings.targets.items()}
        self._bare = {
            name: self._upstream(name, one, environment) for name, one in settings.targets.items()
        }
        self.watched = self._watched(tokenizers)
        self.prober = Prober(
            self.watched, self._bare, self.states, self.is_ready, self._report_standing
        )
        self.upstreams = {
            name: self._guarded(one, self._bare[name]) for name, one in settings.targets.items()
        }
        self.watch = HealthWatch(self.upstreams, self._report_target)
        self.rooms = {name: Room(target) for name, target in targets_of(settings).items()}
        self.budget = RetryBudget(settings.fallback.retry_ratio, settings.fallback.retries_per_s)
        self.dispatcher = self._dispatcher()
        self._teller: asyncio.Task[None] | None = None

    def is_ready(self, name: str) -> bool:
        """Whether the target last said that it is ready."""
        return self.watch.is_ready(name)

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

    def start(self) -> None:
        """Watch the targets from now on; needs a running event loop."""
        self.watch.start()
        self.prober.start()
        self._teller = asyncio.get_running_loop().create_task(self._tell())

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

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_FIGURES_EVERY_S)
            for figures in self.figures():
                if figures["calls"]:
                    self._log.event("figures", **figures)

    async def close(self) -> None:
        """Stop watching and close every connection."""
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)
        await self.prober.close()
        await self.watch.close()
        self._log.event("calls", first_calls=self.budget.first_calls, retries=self.budget.retries)
        for upstream in self.upstreams.values():
            await upstream.close()

    def _dispatcher(self) -> Dispatcher:
        settings = self._settings
        # Chance here spreads load; nobody gains from guessing it.
        chance = random.Random()  # noqa: S311
        shares = settings.cache.max_bytes > 0 or settings.cache.share_in_flight
        return Dispatcher(
            courses={
                name: course_of(route, [self.states[target] for target in route.targets], chance)
                for name, route in settings.routes.items()
            },
            caller=Caller(self.upstreams, self.rooms, self._clock, self._report_standing),
            sharing=Sharing(self.memory) if shares else None,
            budget=self.budget,
            clock=self._clock,
            max_parallel_calls=settings.fallback.max_parallel_calls,
        )

    def _state(self, name: str, target: TargetSettings) -> TargetState:
        profile = self._profile(target)
        limits = limits_of(target, profile, self._canary_of(target))
        state = TargetState(
            name,
            limits,
            breaker_of(self._settings.fallback),
            self.is_ready,
            self._clock.monotonic_s,
        )
        if not self._settings.spaces[target.space].verification.enabled:
            state.standing = Standing.VERIFIED
        return state

    def _canary_of(self, target: TargetSettings) -> TokenBatch | None:
        return self._canaries.get(target.space) if target.is_provider and target.canary else None

    def _profile(self, target: TargetSettings) -> ProfileSettings:
        if not target.is_provider:
            return ProfileSettings()
        profile = self._profiles[target.profile_name]
        return profile.model_copy(update={"body": {**profile.body, **target.body}})

    def _upstream(
        self, name: str, target: TargetSettings, environment: Mapping[str, str]
    ) -> Upstream:
        dimensions = self._spaces[target.space].dimensions
        if target.upstream == "fake":
            return FakeUpstream(dimensions)
        if target.upstream == "triton":
            return PackingUpstream(_triton(target), target.max_call_tokens)
        profile = self._profile(target)
        assert target.api_key is not None
        endpoint = Endpoint(
            url=target.url or profile.url or "",
            model=target.model or "",
            api_key=provider_secret(name, target.api_key, environment),
            dimensions=dimensions,
            profile=profile,
        )
        reports: TargetReports = self.states[name]
        return ProviderUpstream(_DIALECTS[target.upstream](), endpoint, reports, self._clock)

    def _guarded(self, target: TargetSettings, upstream: Upstream) -> Upstream:
        canary = self._canary_of(target)
        verification = self._settings.spaces[target.space].verification
        if canary is None or not verification.enabled:
            return upstream
        return CanaryUpstream(
            upstream, canary, lambda: self.prober.canary(target.space), verification.min_cosine
        )

    def _watched(self, tokenizers: Mapping[str, Tokenizer]) -> list[WatchedSpace]:
        """Spaces where there is something to compare, or a canary whose vector must be known."""
        watched = []
        for name, space in self._spaces.items():
            targets = [one for one, t in self._settings.targets.items() if t.space == name]
            verification = self._settings.spaces[name].verification
            if not targets or not verification.enabled:
                continue
            if len(targets) == 1 and not verification.reference_file and name not in self._canaries:
                self.states[targets[0]].standing = Standing.VERIFIED
                continue
            batches = golden_batches(space, tokenizers[name])
            path = verification.reference_file
            watched.append(
                WatchedSpace(
                    space=space,
                    batches=batches,
                    targets=tuple(targets),
                    reference=verification.reference or targets[0],
                    tolerance=Tolerance(
                        verification.min_cosine,
                        verification.min_rank_agreement,
                        verification.max_norm_error,
                    ),
                    interval_s=verification.interval_s,
                    known=references.load(path, batches, space.dimensions) if path else None,
                )
            )
        return watched

    def _report_target(self, name: str, ready: bool) -> None:
        self._log.event("target", target=name, ready=ready)

    def _report_standing(self, name: str, standing: Standing, reason: str | None) -> None:
        """A target joined its space or was put out; then nothing it computed is trusted."""
        forgotten = 0
        if standing is Standing.QUARANTINED:
            forgotten = self.memory.forget(name)
            self.prober.alarm(name)
        self._log.event(
            "standing",
            target=name,
            space=self._settings.targets[name].space,
            standing=standing.value,
            reason=reason,
            forgotten=forgotten,
        )


def tokenizers_of(settings: Settings) -> dict[str, Tokenizer]:
    """The tokenizer of each space; ConfigurationError where one is missing."""
    return {
        name: HuggingFaceTokenizer.load(space.tokenizer, space.model, space.revision)
        for name, space in settings.spaces.items()
    }


def _triton(target: TargetSettings) -> Upstream:
    url, model = target.url or "", target.model or ""
    if target.padded_profiles is None:
        return TritonUpstream(url, model)
    profiles = [Profile(rows, tokens) for rows, tokens in target.padded_profiles]
    return TritonPaddedUpstream(url, model, profiles)
