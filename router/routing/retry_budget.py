"""How many calls may be made again: a share of those made for the first time.

Without it, a slow or failing fleet is sent a multiple of its load just then. A retry over the
budget waits for it instead of failing. After Finagle's RetryBudget, in calls.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class RetryBudget:
    """`ratio` retries a first call, and `per_s` a second however few calls there are."""

    ratio: float = 0.2
    per_s: float = 10.0
    most: float = 1000.0
    balance: float = 30.0
    first_calls: int = 0
    retries: int = 0
    _at_s: float = field(default=0.0, repr=False)

    def first_call(self) -> None:
        """A call is made for the first time: it earns a share of a retry."""
        self.first_calls += 1
        self.balance = min(self.most, self.balance + self.ratio)

    def take(self, now_s: float) -> bool:
        """Whether a retry may start now; if so, it is paid for."""
        if self._at_s:
            self.balance = min(self.most, self.balance + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        if self.balance < 1.0:
            return False
        self.balance -= 1.0
        self.retries += 1
        return True
