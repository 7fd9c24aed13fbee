"""Folders on this machine: the cache, and folders that live no longer than the process they serve.

A folder's life is told by a lock and not by a process id: the kernel gives a lock back even after
kill -9, ids are used again, and two containers that share a cache do not share their ids.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.up.errors import UpError

_LOCK = ".lock"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """$EMBEDWAY_CACHE, else embedway in $XDG_CACHE_HOME or ~/.cache; made if need be."""
    if chosen := environment.get("EMBEDWAY_CACHE"):
        folder = Path(chosen)
    elif shared := environment.get("XDG_CACHE_HOME"):
        folder = Path(shared) / "embedway"
    else:
        folder = Path(environment.get("HOME") or Path.home()) / ".cache" / "embedway"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UpError(f"the cache folder {folder} cannot be made: {error.strerror}") from error
    return folder.resolve()


class LivingFolder:
    """A fresh folder that counts as abandoned once this process is gone."""

    def __init__(self, parent: Path) -> None:
        """Make it in `parent`; UpError where that is not possible."""
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(dir=parent, prefix=f"{os.getpid()}-"))
            # Locked before it has its name: nobody can find it unlocked.
            fresh = self.path / f"{_LOCK}.fresh"
            self._lock = os.open(fresh, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            fresh.rename(self.path / _LOCK)
        except OSError as error:
            raise UpError(f"no folder can be made in {parent}: {error.strerror}") from error

    def remove(self) -> None:
        """Delete it with all it holds; a second call does nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def abandoned_folders(parent: Path) -> Iterator[Path]:
    """The living folders in `parent` whose process is gone; each is deleted after its turn."""
    for folder in sorted(parent.glob("*-*")):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            # No lock yet, or not any more: somebody is making or deleting it right now.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
