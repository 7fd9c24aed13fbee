"""A real PostgreSQL from the `pgserver` wheel, on a socket in a folder; one database a test."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import psycopg

from router.store.engine import open_engine
from router.store.migrate import upgrade

with warnings.catch_warnings():
    # Where no desktop session has set XDG_RUNTIME_DIR, it says so while it is imported.
    warnings.simplefilter("ignore")
    from pgserver import get_server, postgres_server
    from pgserver._commands import pg_ctl
    from pgserver.postgres_server import PostgresServer

_PATIENCE_S = 60.0


def _patient_pg_ctl(arguments: list[str], **options: Any) -> str:
    """As `pg_ctl`, which pgserver itself gives ten seconds: too few where the machine is busy."""
    waiting = [f"--timeout={_PATIENCE_S:.0f}", *arguments]
    return str(pg_ctl(waiting, **options | {"timeout": 1.5 * _PATIENCE_S}))


postgres_server.pg_ctl = _patient_pg_ctl


class Postgres:
    """A server that can be stopped and started again on the same data and address."""

    def __init__(self, folder: Path) -> None:
        self._server: PostgresServer = get_server(folder, cleanup_mode="stop")
        self._numbers = itertools.count()
        self.url: str = self._server.get_uri()
        # Tests end processes, not the machine: waiting for the disk would prove nothing. Commits
        # stay synchronous: those that the server still held would be gone after `stop`.
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def database(self) -> str:
        """Address of a new, empty database."""
        name = f"embedway_{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self._server.get_uri(database=name)

    def upgraded(self) -> str:
        """Address of a new database with the schema of this release."""
        url = self.database()
        engine = open_engine(url)
        upgrade(engine)
        engine.dispose()
        return url

    def stop(self) -> None:
        """End the server at once, as a crash would."""
        user = self._server.system_user
        stop = ["-w", "-m", "immediate", "stop"]
        _patient_pg_ctl(stop, pgdata=self._server.pgdata, user=user)

    def start(self) -> None:
        """Start it again; returns once it answers."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()
