"""From settings to the words of the domain."""

from collections.abc import Mapping

from router.config.load import key_secret
from router.config.settings import Settings
from router.domain.errors import ConfigurationError
from router.domain.keys import fingerprint
from router.domain.types import Caller, Route, Space, Target


def spaces_of(settings: Settings) -> dict[str, Space]:
    """Spaces by name."""
    return {
        name: Space(
            name=name,
            model=space.model,
            revision=space.revision,
            dimensions=space.dimensions,
            matryoshka=space.matryoshka,
            max_tokens=space.max_tokens,
            lowercase=space.lowercase,
            prompts=dict(space.prompts),
            default_instruction=space.default_instruction,
            provider_input_types=dict(space.provider_input_types),
        )
        for name, space in settings.spaces.items()
    }


def targets_of(settings: Settings) -> dict[str, Target]:
    """Targets by name."""
    return {
        name: Target(
            name=name,
            space=target.space,
            max_in_flight_requests=target.max_in_flight_requests,
            max_in_flight_tokens=target.max_in_flight_tokens,
        )
        for name, target in settings.targets.items()
    }


def routes_of(settings: Settings, spaces: Mapping[str, Space]) -> dict[str, Route]:
    """Routes by name, each with the one space that its targets share."""
    return {
        name: Route(
            name=name,
            space=spaces[settings.targets[route.targets[0]].space],
            targets=tuple(route.targets),
            needs_texts=any(settings.targets[target].is_provider for target in route.targets),
        )
        for name, route in settings.routes.items()
    }


def callers_of(settings: Settings, environment: Mapping[str, str]) -> dict[str, Caller]:
    """Callers by the fingerprint of their key; ConfigurationError where two keys are the same."""
    callers: dict[str, Caller] = {}
    for tenant, tenant_settings in settings.tenants.items():
        for key in tenant_settings.keys:
            digest = key.sha256 or fingerprint(key_secret(key, environment))
            first = callers.setdefault(digest, Caller(tenant=tenant, key_name=key.name))
            if first != Caller(tenant=tenant, key_name=key.name):
                raise ConfigurationError(
                    f"tenants.{tenant}: key {key.name} is the same as key {first.key_name} "
                    f"of tenant {first.tenant}"
                )
    return callers
