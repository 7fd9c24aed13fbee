"""Quotas as data: how much of what, for whom, in which stretch of time, and how strictly."""

from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["tenant", "key", "route"]
Unit = Literal["requests", "tokens", "usd"]
Window = Literal["minute", "hour", "day", "month", "total"]
Mode = Literal["hard", "soft", "shadow"]

NANO_USD = 1_000_000_000  # in one USD


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit of requests, tokens or nano-USD in a window of time, in UTC.

    `subject` is a tenant's name, `tenant:key`, or a route's name. Hard quotas refuse, soft ones
    warn, shadow ones only count.
    """

    scope: Scope
    subject: str
    unit: Unit
    limit: int
    window: Window
    mode: Mode = "hard"
    # Its name in the store and in answers; a subject has one quota of each kind.
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Put the name together once: it is asked for with every request."""
        name = f"{self.scope}:{self.subject}:{self.unit}:{self.window}:{self.mode}"
        object.__setattr__(self, "id", name)

    @property
    def is_budget(self) -> bool:
        """Whether it is a sum to be used up (402), not a rate that recovers by itself (429)."""
        return self.unit == "usd" or self.window in ("month", "total")


@dataclass(frozen=True, slots=True)
class Span:
    """One turn of a window: [start_s, end_s) in seconds since the Unix epoch; None never ends."""

    start_s: int
    end_s: int | None

    def holds(self, wall_s: float) -> bool:
        """Whether a moment lies in it."""
        return self.start_s <= wall_s and (self.end_s is None or wall_s < self.end_s)


@dataclass(frozen=True, slots=True)
class Ask:
    """A process asks for a slice of a hard quota.

    It gets `firm`, what waits now, and up to `extra` ahead of need; or, where the quota is nearly
    used up, what is left, but nothing where that is less than `need`. `number` is the lease's
    within its process.
    """

    number: int
    quota: Quota
    span: Span
    need: int
    firm: int
    extra: int


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer: `amount` more to spend (None: refused) and the window as it is now.

    `left` is what nobody holds. `elsewhere` is what other leases hold and have not spent, as far as
    the ledger knows; it is counted for refusals only.
    """

    amount: int | None
    left: int
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate limit: no more than there is, and less where others hold leases."""

    quota: Quota
    remaining: int
    resets_in_s: int
