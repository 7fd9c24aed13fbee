"""Structured logs: one JSON object a line on standard error, and never a word of an input."""

import sys
from typing import BinaryIO

import orjson

from router.domain.clock import Clock


class Log:
    """Writes events as JSON lines. What may be logged is what its callers name, field by field.

    A full disk or a broken pipe behind it costs lines, and nobody who logs anything.
    """

    def __init__(self, clock: Clock, stream: BinaryIO | None = None) -> None:
        """Take the stream to write to; by default standard error, unbuffered a line."""
        self._clock = clock
        self._stream = stream if stream is not None else sys.stderr.buffer
        # Lines that could not be written when they were due.
        self.failed = 0

    def event(self, name: str, **fields: str | float | bool | None) -> None:
        """Write one line. Fields are counts, names and codes; never text, ids or keys."""
        line = {"time": round(self._clock.wall_s(), 3), "event": name, **fields}
        try:
            self._stream.write(orjson.dumps(line) + b"\n")
            self._stream.flush()
        except OSError:
            self.failed += 1
