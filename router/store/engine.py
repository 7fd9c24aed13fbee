"""From a database's address to an engine: SQLite in a file, or PostgreSQL through psycopg."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from router.domain.errors import ConfigurationError, StoreUnavailableError

_BUSY_TIMEOUT_MS = 5000
_CONNECT_TIMEOUT_S = 2
_STATEMENT_TIMEOUT_MS = 5000


def open_engine(address: str) -> Engine:
    """An engine for `sqlite:///FILE` or `postgresql://…`; ConfigurationError for anything else.

    Connects only when it is used. Threads may share it.
    """
    url = _url(address)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return create_engine(
        url,
        pool_size=4,
        max_overflow=8,
        pool_pre_ping=True,
        pool_timeout=_CONNECT_TIMEOUT_S,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c timezone=UTC",
        },
    )


@contextlib.contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed at the end of the block; StoreUnavailableError where it fails.

    After an error nobody knows whether it was committed: callers must be safe either way.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def unavailable(error: SQLAlchemyError) -> StoreUnavailableError:
    """What the caller may know of a failed statement: nothing of its values."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return StoreUnavailableError(f"the store failed ({type(origin).__name__}): try again soon")


def is_sqlite(engine: Engine) -> bool:
    """Whether the database is a file of this machine."""
    return engine.dialect.name == "sqlite"


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise ConfigurationError("store.url is not a database's address") from error
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise ConfigurationError("store.url must be sqlite:///FILE or postgresql://…")


def _sqlite(url: URL) -> Engine:
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver begins no transaction by itself: `_begin` does.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later would fail, not wait, where another wrote
        # in between; so each takes its place among the writers at once.
        how = "" if connection.get_execution_options().get("is_reading") else " IMMEDIATE"
        connection.exec_driver_sql("BEGIN" + how)

    return engine


def reading(engine: Engine) -> Any:  # noqa: ANN401 - the engine's own kind, with an option
    """The engine for transactions that only read: they wait for no writer."""
    return engine.execution_options(is_reading=True)
