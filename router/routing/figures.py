"""What a target did in the last minutes, in bounded memory: a record of each minute of an hour.

Latencies are counted in steps of five per cent, so that a quantile of any stretch of minutes is
the sum of their counts, and off by a step at most.
"""

import math
from collections import deque
from typing import TypeVar

from router.domain.reports import TargetWindow

_MINUTES = 60
_STEP = math.log(1.05)
_LEAST_S = 1e-4
# Longer ones are counted as this long: no call takes an hour.
_MOST_STEPS = int(math.log(3600 / _LEAST_S) / _STEP)

Counted = TypeVar("Counted", int, str)


class _Minute:
    """Its number since the clock's start, and what happened in it."""

    __slots__ = ("answered", "busy_s", "failures", "latencies", "number", "tokens")

    def __init__(self, number: int) -> None:
        self.number = number
        self.answered = 0
        self.tokens = 0
        self.busy_s = 0.0
        self.failures: dict[str, int] = {}
        self.latencies: dict[int, int] = {}


class CallFigures:
    """The calls of one target, minute by minute."""

    def __init__(self) -> None:
        self._minutes: deque[_Minute] = deque(maxlen=_MINUTES)

    def answered(self, tokens: int, latency_s: float, busy_s: float, now_s: float) -> None:
        """A call gave vectors; `busy_s` are seconds that the target was busy since the last."""
        minute = self._minute(now_s)
        minute.answered += 1
        minute.tokens += tokens
        minute.busy_s += busy_s
        step = _step(latency_s)
        minute.latencies[step] = minute.latencies.get(step, 0) + 1

    def failed(self, code: str | None, busy_s: float, now_s: float) -> None:
        """A call failed with an error's code; None where the target is not to blame for its end."""
        minute = self._minute(now_s)
        minute.busy_s += busy_s
        if code is not None:
            minute.failures[code] = minute.failures.get(code, 0) + 1

    def window(self, minutes: int, now_s: float) -> TargetWindow:
        """The sum of the present minute and of those before it, `minutes` of them together."""
        first = int(now_s // 60) - minutes + 1
        chosen = [minute for minute in self._minutes if minute.number >= first]
        failures: dict[str, int] = {}
        latencies: dict[int, int] = {}
        for minute in chosen:
            _add(failures, minute.failures)
            _add(latencies, minute.latencies)
        answered = sum(minute.answered for minute in chosen)
        tokens = sum(minute.tokens for minute in chosen)
        busy_s = sum(minute.busy_s for minute in chosen)
        calls = answered + sum(failures.values())
        return TargetWindow(
            minutes=minutes,
            calls=calls,
            failures=failures,
            tokens=tokens,
            tokens_per_s=tokens / busy_s if busy_s > 0 else None,
            available=answered / calls if calls else None,
            p50_s=_quantile_s(latencies, 0.5),
            p99_s=_quantile_s(latencies, 0.99),
        )

    def _minute(self, now_s: float) -> _Minute:
        number = int(now_s // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]


def _add(sums: dict[Counted, int], more: dict[Counted, int]) -> None:
    for name, count in more.items():
        sums[name] = sums.get(name, 0) + count


def _step(latency_s: float) -> int:
    return min(_MOST_STEPS, max(0, int(math.log(max(latency_s, _LEAST_S) / _LEAST_S) / _STEP)))


def _quantile_s(latencies: dict[int, int], quantile: float) -> float | None:
    """The middle of the step that the quantile lies in, or None where there is nothing."""
    place, seen = math.ceil(quantile * sum(latencies.values())), 0
    for step in sorted(latencies):
        seen += latencies[step]
        if seen >= place:
            return _LEAST_S * math.exp((step + 0.5) * _STEP)
    return None
