"""The one place where the router reads the time; everything else is handed a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time, so that tests can make time pass."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes back. For durations and deadlines."""
        ...

    def wall_s(self) -> float:
        """Seconds since the Unix epoch. For what people read."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()
