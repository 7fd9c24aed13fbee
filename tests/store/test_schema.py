"""The schema: made by migrations, equal to the tables that the code speaks of."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from router.domain.errors import ConfigurationError, StoreUnavailableError
from router.store.engine import open_engine, transaction
from router.store.migrate import require_current, upgrade
from router.store.tables import metadata


def test_migrations_make_the_tables_of_the_code(database_url: str) -> None:
    """A column added in one place and forgotten in the other fails here."""
    engine = open_engine(database_url)
    upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    """Several processes may each upgrade at their start."""
    engine = open_engine(database_url)
    assert upgrade(engine) == upgrade(engine)
    engine.dispose()


def test_an_old_database_is_refused_and_a_newer_one_is_not(database_url: str) -> None:
    """The previous release goes on while the next one's migration has already run."""
    engine = open_engine(database_url)
    with pytest.raises(ConfigurationError, match="embedway db upgrade"):
        require_current(engine)
    upgrade(engine)
    require_current(engine)
    with transaction(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    require_current(engine)
    engine.dispose()


@pytest.mark.parametrize("address", ["", "sqlite://", "sqlite:///:memory:", "mysql://u@h/d", "x"])
def test_other_databases_are_refused(address: str) -> None:
    """What the store was not tested on, it does not open."""
    with pytest.raises(ConfigurationError):
        open_engine(address)


def test_a_database_that_is_away_is_a_store_error() -> None:
    """Callers see one error of the tree, and nothing of the address."""
    engine = open_engine("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError) as caught, transaction(engine):
        pass
    assert "secret" not in str(caught.value)
