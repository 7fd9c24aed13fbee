"""A store with its tables, on both databases."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from router.store.engine import open_engine
from router.store.migrate import upgrade


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An upgraded database."""
    opened = open_engine(database_url)
    upgrade(opened)
    yield opened
    opened.dispose()
