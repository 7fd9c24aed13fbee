"""The connection of each target of a configuration, and what says that two of them are the same."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from router.config.load import provider_secret
from router.config.profiles import ProfileSettings, profiles_of
from router.config.settings import Settings, TargetSettings
from router.domain.clock import Clock
from router.domain.ports import TargetReports, Upstream
from router.domain.types import Space
from router.upstreams.cohere import CohereDialect
from router.upstreams.fake import FakeUpstream
from router.upstreams.openai_compatible import OpenAIDialect
from router.upstreams.packing import PackingUpstream
from router.upstreams.padding import Profile
from router.upstreams.provider import Dialect, Endpoint, ProviderUpstream
from router.upstreams.triton import TritonUpstream
from router.upstreams.triton_padded import TritonPaddedUpstream
from router.upstreams.voyage import VoyageDialect

_DIALECTS: dict[str, type[Dialect]] = {
    "openai": OpenAIDialect,
    "cohere": CohereDialect,
    "voyage": VoyageDialect,
}
# What a profile says beside how the provider is spoken to: changing it changes no vector.
_TERMS = {"prices", "default_price", "max_inputs", "max_input_tokens", "max_call_tokens"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a target is, in two fingerprints.

    `deployment`: whose vectors they are. `connection`: that, and how it is spoken to. Where the
    second is unchanged a connection can go on; where only the first is, what was found out about
    the vectors still holds.
    """

    deployment: str
    connection: str


class Deployments:
    """Builds the upstreams of one configuration."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        spaces: Mapping[str, Space],
        clock: Clock,
    ) -> None:
        """ConfigurationError where a provider's key is missing."""
        self._settings = settings
        self._spaces = spaces
        self._clock = clock
        self._profiles = profiles_of(settings.profiles)
        self._secrets = {
            name: provider_secret(name, target.api_key, environment)
            for name, target in settings.targets.items()
            if target.is_provider and target.api_key is not None
        }

    def profile(self, target: TargetSettings) -> ProfileSettings:
        """What is particular about the provider, with the target's own fields of the body."""
        if not target.is_provider:
            return ProfileSettings()
        profile = self._profiles[target.profile_name]
        return profile.model_copy(update={"body": {**profile.body, **target.body}})

    def identity(self, name: str) -> Identity:
        """The target's fingerprints; nothing can be read from them."""
        target = self._settings.targets[name]
        profile = self.profile(target)
        deployment = (
            self._spaces[target.space],
            target.upstream,
            target.url or profile.url,
            target.model,
            target.padded_profiles,
            profile.model_dump(mode="json", exclude=_TERMS),
        )
        connection = (deployment, self._secrets.get(name), target.max_call_tokens)
        return Identity(_fingerprint(deployment), _fingerprint(connection))

    def upstream(self, name: str, reports: TargetReports) -> Upstream:
        """A new connection; needs a running event loop. `reports` hears what a provider says."""
        target = self._settings.targets[name]
        dimensions = self._spaces[target.space].dimensions
        if target.upstream == "fake":
            return FakeUpstream(dimensions)
        if target.upstream == "triton":
            return PackingUpstream(_triton(target), target.max_call_tokens)
        profile = self.profile(target)
        endpoint = Endpoint(
            url=target.url or profile.url or "",
            model=target.model or "",
            api_key=self._secrets[name],
            dimensions=dimensions,
            profile=profile,
        )
        return ProviderUpstream(
            _DIALECTS[target.upstream](),
            endpoint,
            reports,
            self._clock,
            tells_traces=self._settings.telemetry.traces.propagate_to_providers,
        )


def _triton(target: TargetSettings) -> Upstream:
    url, model = target.url or "", target.model or ""
    if target.padded_profiles is None:
        return TritonUpstream(url, model)
    profiles = [Profile(rows, tokens) for rows, tokens in target.padded_profiles]
    return TritonPaddedUpstream(url, model, profiles)


def _fingerprint(parts: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
