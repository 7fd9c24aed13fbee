"""The schema's revisions. Each only adds (expand); what it makes needless goes a release later.

So the previous release still runs on a database that is one release ahead.
"""

import contextlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from router.domain.errors import ConfigurationError, StoreUnavailableError
from router.store.engine import is_sqlite, unavailable

# Any number: who upgrades PostgreSQL holds this lock, so that two do not at once.
_LOCK = 0x656D62
_FOLDER = Path(__file__).with_name("migrations")


def upgrade(engine: Engine, revision: str = "head") -> str:
    """Bring the database to a revision and return its name; StoreUnavailableError."""
    try:
        with engine.begin() as connection:
            if not is_sqlite(engine):
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            command.upgrade(_config(connection), revision)
            return _current(connection) or "none"
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def prepare(engine: Engine) -> None:
    """Make the database fit for this release, or see that it is.

    SQLite is ours alone and is upgraded. A server is upgraded by people (`embedway db upgrade`),
    and ConfigurationError says so. One that is down is no reason not to start.
    """
    with contextlib.suppress(StoreUnavailableError):
        if is_sqlite(engine):
            upgrade(engine)
        else:
            require_current(engine)


def require_current(engine: Engine) -> None:
    """ConfigurationError where the database is older than this release; newer ones are fine."""
    try:
        with engine.connect() as connection:
            current = _current(connection)
    except SQLAlchemyError as error:
        raise unavailable(error) from error
    scripts = ScriptDirectory.from_config(_config(None))
    known = {script.revision for script in scripts.walk_revisions()}
    if current is None or (current in known and current != scripts.get_current_head()):
        raise ConfigurationError(
            f"the database is at revision {current}, this release needs "
            f"{scripts.get_current_head()}: run `embedway db upgrade`"
        )


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    return config
