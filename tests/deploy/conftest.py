"""What tests of images share."""

from pathlib import Path

import pytest

from tests.support.wheel import make_wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that images are made from."""
    return make_wheel(tmp_path_factory.mktemp("wheel"))
