"""Which traces are kept: by the caller's word or by chance, and always where something went wrong.

Chance and the caller's word are known before the request begins, so that a target can be told;
the rest is known at its end, when the router's own spans can still be kept but no target's.
Source: OpenTelemetry, consistent probability sampling (the trace id's last 56 bits decide, so that
two services with one ratio keep the same traces).
"""

from router.domain.clock import Clock
from router.domain.journal import Attempt, Facts, Parent

_BITS = 56
_DIGITS = _BITS // 4
_GOOD = frozenset({"ok", "cancelled"})


class Sampler:
    """The two decisions; `left_out` counts traces that were worth keeping, but too many."""

    def __init__(
        self, ratio: float, slow_s: float, most_per_s: int, clock: Clock, *, trusts_parent: bool
    ) -> None:
        """`most_per_s` bounds what is kept for other reasons than chance and the caller's word."""
        self._threshold = round((1.0 - ratio) * (1 << _BITS))
        self._slow_s = slow_s
        self._most_per_s = most_per_s
        self._clock = clock
        self._trusts_parent = trusts_parent
        self._second, self._kept = 0, 0
        self.left_out = 0

    def before(self, trace_id: str, parent: Parent | None) -> bool:
        """Whether a request's trace is kept whatever comes, and its targets are told of it."""
        if parent is not None and self._trusts_parent:
            return parent.is_sampled
        return int(trace_id[-_DIGITS:], 16) >= self._threshold

    def after(
        self, facts: Facts, attempts: list[Attempt], status: int, duration_s: float
    ) -> str | None:
        """Why an unsampled trace is kept after all, or None; at most so many a second are."""
        reason = self._reason(facts, attempts, status, duration_s)
        if reason is None:
            return None
        second = int(self._clock.monotonic_s())
        if second != self._second:
            self._second, self._kept = second, 0
        if self._kept >= self._most_per_s:
            self.left_out += 1
            return None
        self._kept += 1
        return reason

    def _reason(
        self, facts: Facts, attempts: list[Attempt], status: int, duration_s: float
    ) -> str | None:
        if status >= 500:
            return "error"
        if status == 499:
            return "left"
        if facts.error is not None:
            return "refused"
        if len(attempts) > 1 and any(one.outcome not in _GOOD for one in attempts):
            return "fallback"
        return "slow" if duration_s >= self._slow_s else None
