"""The arithmetic of quotas in one process: what is reserved, spent and left of a lease."""

from dataclasses import dataclass

from router.domain.quotas import Quota, Span
from router.domain.usage import ChargeRow

# A lease should last about this long at the present rate: longer strands money, shorter asks often.
_LEASE_S = 1.0
_FIRST_REQUESTS = 32
# Near a limit leases are short, whatever is asked for: doubling must end somewhere.
_MOST = 2**40


@dataclass(slots=True, eq=False)
class Holding:
    """One lease: `granted` = `free` + `reserved` + `spent`, none of them ever negative.

    `is_asking`: a grant may be on its way. `is_unsure`: the store may know of more.
    `is_known`: the store has it.
    """

    number: int
    quota: Quota
    span: Span
    free: int = 0
    reserved: int = 0
    spent: int = 0
    is_asking: bool = False
    is_unsure: bool = False
    is_known: bool = False

    @property
    def granted(self) -> int:
        """All that the lease ever got, less what was given back."""
        return self.free + self.reserved + self.spent

    @property
    def kept(self) -> int:
        """What cannot be given back: it is spent, or reserved and may be."""
        return self.reserved + self.spent

    def grant(self, amount: int) -> None:
        """More to spend."""
        self.is_known = True
        self.free += amount

    def reserve(self, amount: int) -> bool:
        """Set aside what a request may cost; False, and nothing changed, where it does not fit."""
        if amount > self.free:
            return False
        self.free -= amount
        self.reserved += amount
        return True

    def settle(self, reserved: int, spent: int) -> None:
        """Spend of what was reserved, no more than that; the rest is free again."""
        if not 0 <= spent <= reserved <= self.reserved:
            raise ValueError("what is spent must have been reserved")
        self.reserved -= reserved
        self.spent += spent
        self.free += reserved - spent

    def charge(self, amount: int) -> ChargeRow:
        """What the ledger is told of an amount."""
        span = self.span
        return (self.number, amount, self.quota.id, span.start_s, span.end_s, self.quota.limit)

    def give_up(self) -> int:
        """Take what is free out, to be given back; the amount."""
        free, self.free = self.free, 0
        return free


@dataclass(slots=True)
class Appetite:
    """How much to lease ahead of need: as much as is used in about a second, found by doubling."""

    extra: int = 0
    asked_s: float = float("-inf")

    def ahead(self, need: int, now_s: float) -> int:
        """The next lease's extra, for an ask at a moment of the monotonic clock."""
        since_s = now_s - self.asked_s
        self.asked_s = now_s
        if since_s < _LEASE_S / 2:
            self.extra = min(_MOST, max(2 * self.extra, need))
        elif since_s > 2 * _LEASE_S:
            self.extra = max(self.extra // 4, (_FIRST_REQUESTS - 1) * need)
        return self.extra
