"""Numbers in mapped memory: in files that outlive their process and others can read, or in none.

A worker process has two files in a folder that all workers share: `N.values`, a growing array of
float64, and `N.series`, a line of JSON for each series that says where its numbers stand. What a
process has counted is in the operating system's hands at once, so that it survives a crash, and
costs no system call. A lock on `N.series` says that its process lives; a new process takes over
the first N that is free, and goes on counting there.
"""

import fcntl
import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from router.telemetry.metric import Floats

SLOT_BYTES = 8
# Numbers in one mapping; series never lie across two.
SEGMENT_SLOTS = 8192
_SEGMENT_BYTES = SEGMENT_SLOTS * SLOT_BYTES


@dataclass(frozen=True, slots=True)
class Row:
    """One series in a file: its metric's name, label values, first slot and number of slots."""

    name: str
    labels: tuple[str, ...]
    start: int
    slots: int


class Cells:
    """Room for numbers in this process's own memory."""

    def __init__(self, start_s: float) -> None:
        """`start_s` is the wall-clock time from which things are counted."""
        self.start_s = start_s
        self.rows: list[Row] = []
        self._segments: list[Floats] = []
        self._used = 0

    @property
    def number(self) -> int:
        """Which of the workers' files it is."""
        return 0

    def place(self, row: Row) -> tuple[Floats, int]:
        """The float64 memory that a series lies in, and where in it."""
        segment, offset = divmod(row.start, SEGMENT_SLOTS)
        while segment >= len(self._segments):
            self._segments.append(memoryview(self._grow(len(self._segments))).cast("d"))
        return self._segments[segment], offset

    def add(self, name: str, labels: tuple[str, ...], slots: int) -> Row:
        """Room for a new series, its numbers all 0."""
        if self._used % SEGMENT_SLOTS + slots > SEGMENT_SLOTS:
            self._used += SEGMENT_SLOTS - self._used % SEGMENT_SLOTS
        row = Row(name, labels, self._used, slots)
        self._used += slots
        self.place(row)
        self._keep(row)
        self.rows.append(row)
        return row

    def others(self) -> Iterator["Foreign"]:
        """What other processes counted."""
        return iter(())

    def close(self) -> None:
        """Let go of it."""

    def _grow(self, segment: int) -> mmap.mmap:
        del segment
        return mmap.mmap(-1, _SEGMENT_BYTES)

    def _keep(self, row: Row) -> None:
        """Tell other processes of a series."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Another process's series and numbers; of one that is gone only what was counted is true."""

    rows: list[Row]
    values: Floats
    is_alive: bool


class SharedCells(Cells):
    """Room for numbers in files that all workers of a router read."""

    def __init__(self, folder: Path, schema: str, start_s: float) -> None:
        """Take over the first files that no living process has; of another `schema`, anew."""
        super().__init__(start_s)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._schema = schema
        self._number, self._series = _first_free(folder)
        self._values = os.open(folder / f"{self._number}.values", os.O_RDWR | os.O_CREAT, 0o600)
        self._descriptors: tuple[int, ...] = (self._series, self._values)
        self._take_over()

    @property
    def number(self) -> int:
        """Which of the workers' files it is."""
        return self._number

    def others(self) -> Iterator[Foreign]:
        """What other processes counted, and those before them."""
        for path in sorted(self._folder.glob("*.series")):
            if path.stem != str(self._number):
                found = _foreign(path, self._schema)
                if found is not None:
                    yield found

    def close(self) -> None:
        """Let go of the files; the numbers stay."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()

    def _take_over(self) -> None:
        content = _content(self._series)
        header, rows, good = _parsed(content)
        if header.get("schema") != self._schema:
            os.ftruncate(self._series, 0)
            os.ftruncate(self._values, 0)
            line = json.dumps({"schema": self._schema, "start_s": self.start_s})
            os.write(self._series, line.encode() + b"\n")
            return
        # A line that a crash cut short never counted.
        os.ftruncate(self._series, good)
        self.start_s = float(header["start_s"])
        self.rows = rows
        self._used = max((row.start + row.slots for row in rows), default=0)

    def _grow(self, segment: int) -> mmap.mmap:
        # Space is taken now: a full disk must not show when memory is written to.
        end = (segment + 1) * _SEGMENT_BYTES
        os.posix_fallocate(self._values, 0, end)
        return mmap.mmap(self._values, _SEGMENT_BYTES, offset=segment * _SEGMENT_BYTES)

    def _keep(self, row: Row) -> None:
        line = json.dumps([row.name, row.labels, row.start, row.slots])
        os.write(self._series, line.encode() + b"\n")


def _first_free(folder: Path) -> tuple[int, int]:
    """The number of the first files that nobody has, and the locked descriptor of its series."""
    number = 0
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        descriptor = os.open(folder / f"{number}.series", flags, 0o600)
        if _locks(descriptor, fcntl.LOCK_EX):
            return number, descriptor
        os.close(descriptor)
        number += 1


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _foreign(path: Path, schema: str) -> Foreign | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        is_alive = not _locks(descriptor, fcntl.LOCK_SH)
        header, rows, _ = _parsed(_content(descriptor))
    finally:
        os.close(descriptor)
    values = path.with_suffix(".values")
    if header.get("schema") != schema or not values.exists():
        return None
    data = values.read_bytes()
    there = len(data) // SLOT_BYTES
    rows = [row for row in rows if row.start + row.slots <= there]
    return Foreign(rows, memoryview(data).cast("d"), is_alive)


def _parsed(content: bytes) -> tuple[dict[str, str | float], list[Row], int]:
    """Header and series of a file, and how many of its bytes are whole lines."""
    good = content.rfind(b"\n") + 1
    lines = content[:good].splitlines()
    if not lines:
        return {}, [], 0
    header = json.loads(lines[0])
    rows = [
        Row(name, tuple(labels), start, slots)
        for name, labels, start, slots in map(json.loads, lines[1:])
    ]
    return header, rows, good
