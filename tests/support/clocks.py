"""A clock that tests set."""


class ManualClock:
    """Wall time stands until it is set; monotonic time passes `tick_s` with every look."""

    def __init__(self, wall_s: float = 1_700_000_000.0, tick_s: float = 0.0) -> None:
        self.wall = wall_s
        self.monotonic = 1000.0
        self._tick_s = tick_s

    def monotonic_s(self) -> float:
        self.monotonic += self._tick_s
        return self.monotonic

    def wall_s(self) -> float:
        return self.wall
