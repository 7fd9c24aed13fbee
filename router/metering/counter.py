"""A soft or shadow quota in this process: it counts, and never stands in anyone's way."""

from router.domain.quotas import Quota, Span
from router.domain.usage import ChargeRow
from router.policy.windows import span_of


class Counter:
    """What was spent in the present window, by everybody, as far as this process knows."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.span = Span(0, 0)
        # Of the ledger when it was last looked at, and here since then.
        self.known = 0
        self.since = 0
        self.has_warned = False

    @property
    def is_over(self) -> bool:
        """Whether the limit is passed."""
        return self.known + self.since > self.quota.limit

    def turn(self, wall_s: float) -> None:
        """Begin anew where the window is over."""
        if not self.span.holds(wall_s):
            self.span = span_of(self.quota.window, wall_s)
            self.known = self.since = 0
            self.has_warned = False

    def see(self, spent: int) -> bool:
        """Take over what the ledger says; whether that shows for the first time that it is over.

        What was spent here and is on its way there is left out until the next look.
        """
        self.known, self.since = spent, 0
        is_first = self.is_over and not self.has_warned
        self.has_warned = self.has_warned or is_first
        return is_first

    def add(self, amount: int, span: Span) -> None:
        """Count what was spent here, unless its window is over by now."""
        if span == self.span:
            self.since += amount

    def charge(self, amount: int, span: Span) -> ChargeRow:
        """What the ledger is told of an amount spent in a window."""
        return (None, amount, self.quota.id, span.start_s, span.end_s, self.quota.limit)
