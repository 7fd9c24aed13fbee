"""Whose vectors are not believed, and up to when: what a target wrote before it was found wrong.

Doubts are kept beside the vectors, so that every router that shares them hears of them: records of
16 bytes, a hash of the target and the moment in milliseconds since the Unix epoch up to which what
it wrote is not believed. Records are only ever added; the latest moment of a target holds.
"""

import struct

_RECORD = struct.Struct("<8sQ")
# Clocks of machines that share differ by less than this.
_SKEW_MS = 5_000
# Stands for every target.
ALL = b"\0" * 8
MOST_BYTES = 4096


class Doubts:
    """The doubts about one space's vectors."""

    def __init__(self) -> None:
        self._until_ms: dict[bytes, int] = {}
        self._read = b""

    def add(self, origin: bytes, now_ms: int) -> bytes:
        """Doubt what the target wrote until now; the record to be told to others."""
        until_ms = now_ms + _SKEW_MS
        self._note(origin, until_ms)
        return _RECORD.pack(origin, until_ms)

    def read(self, records: bytes | None) -> None:
        """What others have told; a piece of a record at the end says nothing."""
        if not records or records == self._read:
            return
        self._read = records
        for place in range(0, len(records) - _RECORD.size + 1, _RECORD.size):
            self._note(*_RECORD.unpack_from(records, place))

    def may_believe(self, origin: bytes, written_ms: int, now_ms: int) -> bool:
        """Whether nothing speaks against what the target wrote at that moment."""
        until_ms = max(self._until_ms.get(origin, 0), self._until_ms.get(ALL, 0))
        # What comes from the future has a clock that doubts cannot be held against.
        return until_ms < written_ms <= now_ms + _SKEW_MS

    def _note(self, origin: bytes, until_ms: int) -> None:
        self._until_ms[origin] = max(until_ms, self._until_ms.get(origin, 0))
