"""A spool's folder: whose it is, whether its process still lives, and what a dead one left.

A process holds a lock on its folder, which the operating system lets go of when it ends, however.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from router.domain.errors import StoreUnavailableError
from router.store.frames import Entry, entries

_LOCK, _BOOT = "lock", "boot"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SpoolFolder:
    """A folder that this process has locked."""

    def __init__(self, path: Path, lock: int) -> None:
        """`lock` is the locked file's descriptor."""
        self.path = path
        self._lock = lock

    @classmethod
    def made(cls, state: Path) -> Self:
        """A new folder for this process in the state folder; StoreUnavailableError."""
        holder = secrets.token_hex(8)
        # Nobody may find it before it is locked.
        hidden = state / f".{holder}"
        try:
            hidden.mkdir(parents=True)
            (hidden / _BOOT).write_text(_boot_id(), encoding="utf-8")
        except OSError as error:
            raise StoreUnavailableError(
                f"the folder store.state ({state}) cannot be written to: {error.strerror}"
            ) from error
        lock = _locked(hidden / _LOCK)
        assert lock is not None
        return cls(hidden.rename(state / holder), lock)

    @classmethod
    def abandoned(cls, state: Path) -> Iterator[Self]:
        """Folders of processes that are gone; each is locked until it is closed."""
        for path in sorted(state.iterdir()) if state.is_dir() else ():
            if path.name.startswith(".") or not (path / _LOCK).exists():
                continue
            lock = _locked(path / _LOCK)
            if lock is not None:
                yield cls(path, lock)

    @property
    def holder(self) -> str:
        """The name that its process held leases under."""
        return self.path.name

    @property
    def is_whole(self) -> bool:
        """Whether the machine has run since: all that was written is there, synced or not."""
        try:
            return (self.path / _BOOT).read_text(encoding="utf-8") == _boot_id() != ""
        except OSError:
            return False

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """What a dead process left, each with the position after it."""
        for path in sorted(self.path.glob("*.spool")):
            data = path.read_bytes()
            first = int(path.stem) * len(data)
            for entry in entries(data, 0, len(data)):
                yield first + entry.next_offset, entry

    def close(self, *, remove: bool) -> None:
        """Let go of the folder, for another process or, with `remove`, for good."""
        if remove:
            for path in self.path.iterdir():
                if path.name != _LOCK:
                    path.unlink()
            (self.path / _LOCK).unlink()
            self.path.rmdir()
        os.close(self._lock)


def segment_name(number: int) -> str:
    """A segment's file name."""
    return f"{number:012d}.spool"


def _locked(path: Path) -> int | None:
    """Descriptor of the locked file, or None where another process has it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have deleted the folder in between.
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)
    return None


def _boot_id() -> str:
    """Names the machine's present run; empty where the system does not tell."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    return ""
