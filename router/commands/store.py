"""The administration that a configuration file describes, straight on its database."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.administration.tenants import Administration
from router.config.declared import declared_keys, declared_tenants
from router.config.load import load_settings, store_url
from router.domain.clock import Clock
from router.store.engine import open_engine
from router.store.migrate import prepare
from router.store.tenant_store import SqlTenantStore


@contextlib.contextmanager
def administration(
    config: Path, environment: Mapping[str, str], clock: Clock
) -> Iterator[Administration]:
    """Tenants and keys of the file and its store; ConfigurationError, StoreUnavailableError."""
    settings = load_settings(config)
    engine = open_engine(store_url(settings.store, environment))
    try:
        prepare(engine)
        yield Administration(
            SqlTenantStore(engine), declared_tenants(settings), declared_keys(settings), clock
        )
    finally:
        engine.dispose()
