"""The spool: usage on disk before its answer is sent, in files that only grow.

Entries are copied into mapped memory, which belongs to the operating system: a process that is
killed loses none, and no system call is made for a request. What a loss of power can take is the
time since the last `sync`.
"""

import mmap
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from router.domain.errors import StoreUnavailableError
from router.store.frames import HEADER, INTENT, RECORD, entries, header
from router.store.spool_folder import SpoolFolder, segment_name

SEGMENT_BYTES = 4 * 1024 * 1024
_BATCH_BYTES = 512 * 1024


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    memory: mmap.mmap
    end: int = 0


class Spool:
    """The spool of this process. Positions count bytes from its beginning, over all segments.

    `intend` and `record` belong to the event loop's thread, as does `release`; the others may run
    on one other thread.
    """

    def __init__(self, folder: SpoolFolder, segment_bytes: int = SEGMENT_BYTES) -> None:
        """StoreUnavailableError where the disk has no room for a segment."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._spare: _Segment | None = None
        self._segments = {0: self._made(0)}
        self._last = self._segments[0]
        # Requests under way, by the segment that holds their intent: it has to stay.
        self._open: Counter[int] = Counter()
        self._synced = 0
        self._recorded = 0

    @property
    def holder(self) -> str:
        """The name that this process holds leases under."""
        return self._folder.holder

    @property
    def end(self) -> int:
        """The position after the last entry."""
        last = self._last
        return last.number * self._segment_bytes + last.end

    @property
    def recorded(self) -> int:
        """Records written so far."""
        return self._recorded

    @property
    def under_way(self) -> int:
        """Requests whose intent has no record yet."""
        return self._open.total()

    def intend(self, number: int, payload: bytes) -> int:
        """Note what a request will have used if this process dies; the place, for `record`."""
        self._append(INTENT, number, payload)
        self._open[self._last.number] += 1
        return self._last.number

    def record(self, number: int, payload: bytes, intent: int) -> None:
        """Note what the request of an intent has used."""
        self._append(RECORD, number, payload)
        self._open[intent] -= 1
        self._recorded += 1

    def read(self, position: int) -> tuple[list[bytes], int]:
        """Records from a position on, some at a time, and the position after them."""
        records: list[bytes] = []
        number, offset = divmod(position, self._segment_bytes)
        end_number, end = divmod(self.end, self._segment_bytes)
        segment = self._segments[number]
        limit = end if number == end_number else segment.end
        for entry in entries(segment.memory, offset, min(limit, offset + _BATCH_BYTES)):
            offset = entry.next_offset
            if entry.kind == RECORD:
                records.append(entry.payload)
        if offset == limit and number < end_number:
            return records, (number + 1) * self._segment_bytes
        return records, number * self._segment_bytes + offset

    def make_spare(self) -> None:
        """Lay out the next segment ahead of need: it takes milliseconds."""
        if self._spare is None:
            self._spare = self._made(self._last.number + 1)

    def sync(self) -> None:
        """Bring what was written to the disk itself."""
        end = self.end
        if end == self._synced:
            return
        for number in range(self._synced // self._segment_bytes, end // self._segment_bytes + 1):
            segment = self._segments.get(number)
            if segment is not None:
                segment.memory.flush()
        self._synced = end

    def release(self, position: int) -> None:
        """Delete the segments before a position that no request under way needs."""
        for number in list(self._segments):
            if (number + 1) * self._segment_bytes > position or self._open[number]:
                break
            segment = self._segments.pop(number)
            del self._open[number]
            segment.memory.close()
            segment.path.unlink()

    def close(self, *, remove: bool) -> None:
        """Let go of the files; `remove` deletes them, else they wait for another process."""
        for segment in (*self._segments.values(), *([self._spare] if self._spare else [])):
            segment.memory.close()
        self._folder.close(remove=remove)

    def _append(self, kind: bytes, number: int, payload: bytes) -> None:
        segment = self._last
        size = HEADER.size + len(payload)
        end = segment.end + size
        if end > self._segment_bytes:
            segment = self._turn()
            end = size
        segment.memory[end - size : end] = header(kind, number, payload) + payload
        segment.end = end

    def _turn(self) -> _Segment:
        self.make_spare()
        spare, self._spare = self._spare, None
        assert spare is not None
        self._segments[spare.number] = spare
        self._last = spare
        return spare

    def _made(self, number: int) -> _Segment:
        path = self._folder.path / segment_name(number)
        try:
            with path.open("w+b") as file:
                # Space is taken now: a full disk must not show when memory is written to.
                os.posix_fallocate(file.fileno(), 0, self._segment_bytes)
                memory = mmap.mmap(file.fileno(), self._segment_bytes)
        except OSError as error:
            raise StoreUnavailableError("the spool's disk has no room") from error
        return _Segment(number, path, memory)
