"""Upstreams in front of local providers."""

from dataclasses import dataclass, field

from benchmarks.chaos.local_provider import API_KEY, LocalProvider
from router.config.profiles import ProfileSettings, profiles_of
from router.domain.clock import SystemClock
from router.upstreams.cohere import CohereDialect
from router.upstreams.openai_compatible import OpenAIDialect
from router.upstreams.provider import Endpoint, ProviderUpstream
from router.upstreams.voyage import VoyageDialect

PROFILES = profiles_of({})
DIALECTS = {"cohere": CohereDialect, "voyage": VoyageDialect}
DIMENSIONS = 384


@dataclass
class Reports:
    """Keeps what a target says of itself."""

    limits: list[tuple[int, float]] = field(default_factory=list)
    bills: list[tuple[int, int]] = field(default_factory=list)

    def rate_limited(self, remaining: int, reset_s: float) -> None:
        self.limits.append((remaining, reset_s))

    def billed(self, counted_tokens: int, billed_tokens: int) -> None:
        self.bills.append((counted_tokens, billed_tokens))


def profile_of(kind: str, dimensions: int = DIMENSIONS) -> ProfileSettings:
    """The built-in profile, allowed to give the tests' small dimension."""
    profile = PROFILES[kind]
    return profile.model_copy(update={"dimensions": [dimensions]})


def upstream_of(
    provider: LocalProvider,
    kind: str,
    *,
    reports: Reports | None = None,
    profile: ProfileSettings | None = None,
    api_key: str = API_KEY,
) -> ProviderUpstream:
    endpoint = Endpoint(
        url=provider.url,
        model="some-model",
        api_key=api_key,
        dimensions=provider.dimensions,
        profile=profile or profile_of(kind, provider.dimensions),
    )
    dialect = DIALECTS.get(kind, OpenAIDialect)()
    return ProviderUpstream(dialect, endpoint, reports or Reports(), SystemClock())
