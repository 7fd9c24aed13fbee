"""From settings to the words of the domain."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from router.config.load import key_secret
from router.config.metering import QuotaSettings
from router.config.pins import followed
from router.config.profiles import ProfileSettings, profiles_of
from router.config.settings import Settings, TargetSettings
from router.domain.errors import ConfigurationError
from router.domain.keys import fingerprint
from router.domain.quotas import NANO_USD, Quota, Scope
from router.domain.types import Caller, KnownKey, Route, Space, Target


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
            is_hedged=route.hedge_quantile is not None,
        )
        for name, route in settings.routes.items()
    }


def pins_of(settings: Settings) -> dict[str, dict[str, str]]:
    """By tenant: for a name that is asked for, the route that answers instead."""
    return {name: followed(tenant.pins) for name, tenant in settings.tenants.items() if tenant.pins}


def keys_of(settings: Settings, environment: Mapping[str, str]) -> dict[str, KnownKey]:
    """Keys by their fingerprint; ConfigurationError where two keys are the same."""
    keys: dict[str, KnownKey] = {}
    for tenant, tenant_settings in settings.tenants.items():
        for key in tenant_settings.keys:
            digest = key.sha256 or fingerprint(key_secret(key, environment))
            caller = Caller(tenant=tenant, key_name=key.name, scopes=frozenset(key.scopes))
            first = keys.get(digest)
            if first is not None:
                raise ConfigurationError(
                    f"tenants.{tenant}: key {key.name} is the same as key {first.caller.key_name} "
                    f"of tenant {first.caller.tenant}"
                )
            keys[digest] = KnownKey(
                caller=caller,
                expires_s=None if key.expires is None else key.expires.timestamp(),
                is_disabled=key.disabled or tenant_settings.disabled,
            )
    return keys


def quotas_of(settings: Settings) -> dict[tuple[str, str], list[Quota]]:
    """The file's quotas by scope and subject; ConfigurationError where one stands twice."""
    found: dict[tuple[str, str], list[Quota]] = {}
    for route, route_settings in settings.routes.items():
        found["route", route] = _quotas("route", route, route_settings.quotas)
    for tenant, tenant_settings in settings.tenants.items():
        found["tenant", tenant] = _quotas("tenant", tenant, tenant_settings.quotas)
        for key in tenant_settings.keys:
            subject = f"{tenant}:{key.name}"
            found["key", subject] = _quotas("key", subject, key.quotas)
    return {place: quotas for place, quotas in found.items() if quotas}


def price_usd_of(target: TargetSettings, profile: ProfileSettings | None) -> Decimal | None:
    """USD per million tokens: the target's own price, else its provider's, else not known."""
    if target.price_usd_per_million_tokens is not None or profile is None:
        return target.price_usd_per_million_tokens
    return profile.prices.get(target.model or "", profile.default_price)


def prices_of(settings: Settings) -> dict[str, int | None]:
    """Nano-USD per million tokens by target, rounded up; None where the price is not known."""
    prices: dict[str, int | None] = {}
    profiles = profiles_of(settings.profiles)
    for name, target in settings.targets.items():
        price = price_usd_of(target, profiles.get(target.profile_name))
        prices[name] = None if price is None else math.ceil(price * NANO_USD)
    return prices


def _quotas(scope: Scope, subject: str, items: Sequence[QuotaSettings]) -> list[Quota]:
    quotas = [
        Quota(scope, subject, item.unit, item.limit_amount, item.window, item.mode)
        for item in items
    ]
    names = [quota.id for quota in quotas]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"quota {name} stands twice")
    return quotas
