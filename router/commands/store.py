"""What a configuration file describes, straight on its database."""

import contextlib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Engine

from router.administration.quotas import QuotaAdministration
from router.administration.tenants import Administration
from router.config.declared import declared_keys, declared_tenants
from router.config.domain_of import quotas_of
from router.config.load import load_settings, store_url
from router.config.settings import Settings
from router.domain.clock import Clock
from router.domain.errors import InvalidInputError
from router.store.engine import open_engine
from router.store.migrate import prepare
from router.store.quotas import StoredQuotas
from router.store.tenant_store import SqlTenantStore


@contextlib.contextmanager
def opened(config: Path, environment: Mapping[str, str]) -> Iterator[tuple[Settings, Engine]]:
    """The settings and their database; ConfigurationError."""
    settings = load_settings(config)
    engine = open_engine(store_url(settings.store, environment))
    try:
        yield settings, engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def administration(
    config: Path, environment: Mapping[str, str], clock: Clock
) -> Iterator[Administration]:
    """Tenants and keys of the file and its store; ConfigurationError, StoreUnavailableError."""
    with opened(config, environment) as (settings, engine):
        prepare(engine)
        yield _administration(settings, engine, clock)


@contextlib.contextmanager
def quota_administration(
    config: Path, environment: Mapping[str, str], clock: Clock
) -> Iterator[QuotaAdministration]:
    """Quotas of the file and its store; ConfigurationError, StoreUnavailableError."""
    with opened(config, environment) as (settings, engine):
        prepare(engine)
        declared = chain.from_iterable(quotas_of(settings).values())
        tenants = _administration(settings, engine, clock)
        yield QuotaAdministration(StoredQuotas(engine), declared, tenants, settings.routes, clock)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What is said wrong on the command line, in one sentence; InvalidInputError."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        where = f"{field}: " if field else ""
        problem = str(first["msg"]).removeprefix("Value error, ")
        raise InvalidInputError(where + problem) from error


def _administration(settings: Settings, engine: Engine, clock: Clock) -> Administration:
    store = SqlTenantStore(engine)
    return Administration(store, declared_tenants(settings), declared_keys(settings), clock)
