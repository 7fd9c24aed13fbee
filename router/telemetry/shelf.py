"""The newest traces of this machine's routers, on its disk, for `embedway trace`.

Each process writes two files in turn and begins one anew when the other is full, so that what it
keeps is bounded and a crash loses at most what was not written yet. A record is the lengths of its
spans and of the request's id, the trace id, the request's id, and the encoded spans.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from struct import Struct

_HEAD = Struct("<IB16s")
_SUFFIX = ".traces"
# Of processes that are gone some are kept: a restart is when people ask what happened before it.
_MOST_FILES_OF_THE_GONE = 16
_FILES_OF_ONE = 2
_MOST_RECORD_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptTrace:
    """A request's spans as fields of ScopeSpans, and the names that it is found by."""

    request_id: str
    trace_id: str
    spans: bytes


class TraceShelf:
    """Writes; `put` and `take` only remember, `write` is for a thread."""

    def __init__(self, folder: Path, most_bytes: int, living: int = 1) -> None:
        """`most_bytes` is for both files together; `living` processes write into the folder.

        OSError where the folder cannot be made.
        """
        self._folder = folder
        self._half = most_bytes // 2
        self._name = secrets.token_hex(8)
        self._turn = 0
        self._size = 0
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        folder.mkdir(parents=True, exist_ok=True)
        _forget_oldest(folder, _MOST_FILES_OF_THE_GONE + _FILES_OF_ONE * living)
        self._file: FileIO | None = None

    def put(self, request_id: str, trace_id: str, spans: bytes | memoryview) -> None:
        """Keep a trace. Where the disk does not follow, what waits is bounded as the files are."""
        name = request_id.encode()[:255]
        size = _HEAD.size + len(name) + len(spans)
        if self._waiting_bytes + size <= self._half:
            head = _HEAD.pack(len(spans), len(name), bytes.fromhex(trace_id)) + name
            self._waiting += (head, spans)
            self._waiting_bytes += size

    def take(self) -> list[bytes | memoryview]:
        """What waits to be written: heads and spans in turn."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting

    def write(self, records: Sequence[bytes | memoryview]) -> None:
        """Bring what was taken into the files; OSError where the disk refuses."""
        begun, size = 0, 0
        for place in range(0, len(records), 2):
            record_size = len(records[place]) + len(records[place + 1])
            if self._file is None or self._size + size + record_size > self._half:
                self._append(b"".join(records[begun:place]))
                begun, size = place, 0
                self._begin()
            size += record_size
        self._append(b"".join(records[begun:]))

    def close(self) -> None:
        """Write, and let go of the files: they stay for who asks later."""
        with contextlib.suppress(OSError):
            self.write(self.take())
        if self._file is not None:
            self._file.close()

    def _append(self, data: bytes) -> None:
        """All of it or nothing: behind half a record nobody would find the next one."""
        if self._file is None:
            return
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(data)

    def _begin(self) -> None:
        # Let go of first: where no other can be opened, the next call tries again.
        full, self._file = self._file, None
        if full is not None:
            full.close()
        path = self._folder / f"{self._name}-{self._turn}{_SUFFIX}"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        # Unbuffered: what a full disk refused must not wait in memory for the file's end.
        self._file = FileIO(descriptor, "wb")
        self._turn, self._size = 1 - self._turn, 0


def find(folder: Path, name: str) -> list[KeptTrace]:
    """Traces of that request or trace id, newest file last; none where there is no folder."""
    found: list[KeptTrace] = []
    for path in _files(folder):
        with contextlib.suppress(OSError):
            records = _records(path.read_bytes())
            found += [one for one in records if name in (one.request_id, one.trace_id)]
    return found


def _records(data: bytes) -> Iterator[KeptTrace]:
    """Whole records; one that is being written ends the file."""
    place = 0
    while place + _HEAD.size <= len(data):
        size, name_size, trace_id = _HEAD.unpack_from(data, place)
        end = place + _HEAD.size + name_size + size
        if end > len(data) or size > _MOST_RECORD_BYTES:
            return
        middle = place + _HEAD.size + name_size
        name = data[place + _HEAD.size : middle].decode("utf-8", "replace")
        yield KeptTrace(name, trace_id.hex(), data[middle:end])
        place = end


def _files(folder: Path) -> list[Path]:
    """Oldest first."""
    if not folder.is_dir():
        return []
    aged = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            aged.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(aged)]


def _forget_oldest(folder: Path, most: int) -> None:
    for path in _files(folder)[:-most]:
        path.unlink(missing_ok=True)
