"""One JSON object a line on standard error; names, counts and the API server's own sentences."""

import json
from typing import TextIO

from router.domain.clock import Clock


class Log:
    """Writes events; never a value of a Secret."""

    def __init__(self, clock: Clock, stream: TextIO) -> None:
        self._clock = clock
        self._stream = stream

    def event(self, name: str, **fields: str | float | None) -> None:
        """Write one line."""
        line = {"time": round(self._clock.wall_s(), 3), "event": name, **fields}
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
