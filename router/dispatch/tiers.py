"""Settings of the shared tier in the terms of this room."""

from collections.abc import Callable, Mapping

from router.config.load import shared_cache_secret, shared_cache_url
from router.config.routing import SharedCacheSettings
from router.dispatch.shared_tier import SharedTier, TierSettings
from router.domain.clock import Clock


def tier_of(
    shared: SharedCacheSettings,
    environment: Mapping[str, str],
    clock: Clock,
    report: Callable[[bool, str | None], None],
) -> SharedTier:
    """The tier over a Redis, which nobody has called yet; ConfigurationError."""
    # Imported here: who shares nothing shall not load a client for it.
    from router.cache.redis_store import RedisStore  # noqa: PLC0415

    settings = TierSettings(
        namespace=shared.namespace,
        secret=shared_cache_secret(shared, environment),
        ttl_s=shared.ttl_s,
        timeout_s=shared.timeout_s,
        max_waiting_bytes=shared.max_waiting_bytes,
    )
    store = RedisStore(shared_cache_url(shared, environment))
    return SharedTier(store, settings, clock, report)
