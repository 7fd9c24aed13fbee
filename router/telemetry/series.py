"""One series of each kind, as those who count see it. An update costs a fraction of a microsecond.

All belong to the event loop's thread; any other thread, and any process, may read.
"""

from bisect import bisect_left

from router.telemetry.metric import EXEMPLAR_SLOTS, Floats

# An exemplar stands for its bucket at least this long: one a second is plenty.
_EXEMPLAR_S = 1.0


class Counter:
    """A sum that only grows."""

    __slots__ = ("_cells", "_place", "_seen")

    def __init__(self, cells: Floats, place: int) -> None:
        self._cells = cells
        self._place = place
        self._seen = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Count."""
        self._cells[self._place] += amount

    def follow(self, total: float) -> None:
        """Count what another counter of this process has gained since it was last looked at."""
        # Less than before is another counter in its place, begun anew.
        self._cells[self._place] += total - self._seen if total >= self._seen else total
        self._seen = total


class Gauge:
    """A figure that is what it was last set to."""

    __slots__ = ("_cells", "_place")

    def __init__(self, cells: Floats, place: int) -> None:
        self._cells = cells
        self._place = place

    def set(self, value: float) -> None:
        """Set it; NaN is nothing to tell."""
        self._cells[self._place] = value


class Histogram:
    """Counts by bucket and a sum; where traces are known, the last one of each bucket."""

    __slots__ = ("_bounds", "_bytes", "_cells", "_examples", "_place", "_sum")

    def __init__(
        self, cells: Floats, place: int, bounds: tuple[float, ...], *, exemplars: bool
    ) -> None:
        self._cells = cells
        self._bytes = cells.cast("B")
        self._place = place
        self._bounds = bounds
        self._sum = place + len(bounds) + 1
        self._examples = self._sum + 1 if exemplars else 0

    def observe(self, value: float, trace_id: str = "", wall_s: float = 0.0) -> None:
        """Count a value; `trace_id` (32 hexadecimal digits) and its time may be an exemplar."""
        cells = self._cells
        bucket = bisect_left(self._bounds, value)
        cells[self._place + bucket] += 1.0
        cells[self._sum] += value
        if trace_id and self._examples:
            place = self._examples + bucket * EXEMPLAR_SLOTS
            if wall_s - cells[place + 1] >= _EXEMPLAR_S:
                cells[place] = value
                cells[place + 1] = wall_s
                start = (place + 2) * 8
                self._bytes[start : start + 16] = bytes.fromhex(trace_id)
