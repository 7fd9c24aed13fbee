"""Folders that live as long as their process."""

import subprocess
import sys
from pathlib import Path

import pytest

from router.up.cache import LivingFolder, abandoned_folders, cache_folder
from router.up.errors import UpError

_DIE_IN = """
import os, sys
from pathlib import Path
from router.up.cache import LivingFolder
LivingFolder(Path(sys.argv[1]))
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"EMBEDWAY_CACHE": "a", "XDG_CACHE_HOME": "b", "HOME": "c"}, "a"),
        ({"XDG_CACHE_HOME": "b", "HOME": "c"}, "b/embedway"),
        ({"HOME": "c"}, "c/.cache/embedway"),
    ],
    ids=["own variable", "XDG", "home"],
)
def test_place_of_the_cache(environment: dict[str, str], folder: str, tmp_path: Path) -> None:
    """The cache is where its own variable, XDG or the home folder says, in that order."""
    absolute = {name: str(tmp_path / value) for name, value in environment.items()}
    assert cache_folder(absolute) == tmp_path / folder
    assert (tmp_path / folder).is_dir()


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    """A cache below a file is one sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(UpError, match="cannot be made: Not a directory"):
        cache_folder({"EMBEDWAY_CACHE": str(tmp_path / "file/cache")})


def test_the_living_are_not_swept(tmp_path: Path) -> None:
    """A folder whose process lives is left alone."""
    folder = LivingFolder(tmp_path)
    assert list(abandoned_folders(tmp_path)) == []
    assert folder.path.is_dir()
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_killed_are_swept(tmp_path: Path) -> None:
    """A folder whose process was killed is found once and deleted."""
    subprocess.run([sys.executable, "-c", _DIE_IN, str(tmp_path)], check=False)
    [left] = tmp_path.iterdir()
    assert list(abandoned_folders(tmp_path)) == [left]
    assert list(tmp_path.iterdir()) == []
