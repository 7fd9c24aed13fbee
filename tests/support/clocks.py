"""Clocks that tests set."""

from router.domain.clock import SystemClock

_DAY_S, _NOON_S = 86_400.0, 43_200.0


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


class ShiftedClock(SystemClock):
    """The machine's clock, its wall time `ahead_s` of the machine's."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def wall_s(self) -> float:
        return super().wall_s() + self.ahead_s


def past_noon() -> ShiftedClock:
    """It is half past twelve now, today: no hour, day or month ends while a test looks."""
    clock = ShiftedClock()
    clock.ahead_s = _NOON_S + 1800.0 - clock.wall_s() % _DAY_S
    return clock
