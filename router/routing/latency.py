"""How long a target takes: a peak-sensitive moving average, and quantiles of its latest calls.

Peak-EWMA after Finagle's balancer: a slow answer counts at once, a fast one only gradually, so
that a target which has become slow is believed before many requests have waited for it.
"""

import math
from collections import deque

# Half of a peak is forgotten after 0.7 times this.
_DECAY_S = 10.0
_WINDOW = 128
# Before the first answer a target counts as this fast, so that it is tried.
_UNKNOWN_S = 0.0


class Latency:
    """Latencies of one target, in seconds."""

    def __init__(self) -> None:
        self._average_s = _UNKNOWN_S
        self._at_s = 0.0
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._sorted: list[float] = []
        self._unsorted = 0

    def observe(self, latency_s: float, now_s: float) -> None:
        """One answer, or a failure after that time."""
        if latency_s > self._average_s:
            self._average_s = latency_s
        else:
            weight = math.exp(-max(0.0, now_s - self._at_s) / _DECAY_S)
            self._average_s = self._average_s * weight + latency_s * (1.0 - weight)
        self._at_s = now_s
        self._recent.append(latency_s)
        self._unsorted += 1

    def peak_s(self, now_s: float) -> float:
        """The average; it falls while nothing is heard, so that a target is tried again."""
        return self._average_s * math.exp(-max(0.0, now_s - self._at_s) / _DECAY_S)

    def quantile_s(self, quantile: float) -> float | None:
        """Quantile of the latest calls, or None before there are enough to tell."""
        if len(self._recent) < 10:
            return None
        if self._unsorted >= 16 or not self._sorted:
            self._sorted, self._unsorted = sorted(self._recent), 0
        place = math.ceil(quantile * len(self._sorted)) - 1
        return self._sorted[min(max(place, 0), len(self._sorted) - 1)]
