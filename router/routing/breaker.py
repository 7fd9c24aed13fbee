"""A circuit breaker: a target that keeps failing is left alone, then tried with single calls.

Closed → (failures) → open → (time) → half-open, one probe at a time → closed, or open for longer.
Time is passed in, in seconds on the monotonic clock.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When to open and for how long; ratios of the last `window` outcomes."""

    consecutive_failures: int = 3
    failure_ratio: float = 0.25
    window: int = 20
    least_outcomes: int = 8
    open_s: float = 1.0
    longest_open_s: float = 30.0


class Breaker:
    """The breaker of one target. Every `started` is followed by exactly one of the three ends.

    Calls are numbered, since an end has to be told apart by when its call began: one from before
    the opening comes home late and proves nothing; one that was let pass while open, for want of
    another target, is no probe, though its vectors are as good a proof.
    """

    def __init__(self, limits: BreakerLimits) -> None:
        self.limits = limits
        self._outcomes: deque[bool] = deque(maxlen=limits.window)
        self._consecutive = 0
        self._opened_s: float | None = None
        self._open_s = limits.open_s
        self._started = 0
        self._last_before_opening = 0
        self._probe: int | None = None

    @property
    def is_closed(self) -> bool:
        """Whether calls pass freely."""
        return self._opened_s is None

    def remaining_s(self, now_s: float) -> float:
        """Seconds until a probe may pass; 0 where calls pass or a probe is due."""
        if self._opened_s is None:
            return 0.0
        return max(0.0, self._opened_s + self._open_s - now_s)

    def allows(self, now_s: float) -> bool:
        """Whether a call may start now: always when closed, one at a time when half-open."""
        return self._opened_s is None or (self._probe is None and self.remaining_s(now_s) == 0.0)

    def started(self, now_s: float) -> int:
        """A call starts, whether or not it was allowed; its number, to be told at its end."""
        self._started += 1
        if self._opened_s is not None and self.allows(now_s):
            self._probe = self._started
        return self._started

    def succeeded(self, call: int) -> None:
        """A call gave vectors."""
        if self._opened_s is not None:
            if call > self._last_before_opening:
                self.reset()
            return
        self._consecutive = 0
        self._outcomes.append(True)

    def failed(self, call: int, now_s: float) -> None:
        """A call failed through the target's fault."""
        if self._opened_s is not None:
            # Only the probe makes the pause longer.
            if call == self._probe:
                self._open_s = min(self.limits.longest_open_s, self._open_s * 2)
                self._open(now_s)
            return
        self._consecutive += 1
        self._outcomes.append(False)
        if self._consecutive >= self.limits.consecutive_failures or self._fails_too_often():
            self._open(now_s)

    def abandoned(self, call: int) -> None:
        """A call ended without telling anything of the target."""
        if call == self._probe:
            self._probe = None

    def reset(self) -> None:
        """Close, and forget what was."""
        self._outcomes.clear()
        self._consecutive = 0
        self._opened_s = None
        self._open_s = self.limits.open_s
        self._probe = None

    def _open(self, now_s: float) -> None:
        self._opened_s = now_s
        self._last_before_opening = self._started
        self._probe = None

    def _fails_too_often(self) -> bool:
        seen = len(self._outcomes)
        failures = seen - sum(self._outcomes)
        return seen >= self.limits.least_outcomes and failures >= seen * self.limits.failure_ratio
