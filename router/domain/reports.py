"""Questions to the ledger and their answers, and what targets did."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Dimension = Literal["tenant", "key", "route", "target", "space", "status", "hour", "day"]
Standing = Literal["unverified", "verified", "quarantined"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """Usage in [since_s, until_s), seconds since the Unix epoch, by any dimensions.

    `only` keeps records of these names. Times count in whole hours, in UTC.
    """

    by: tuple[Dimension, ...]
    since_s: float
    until_s: float
    only: dict[Dimension, str] = field(default_factory=dict)
    most: int = 10_000


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What the records of one group add up to; `names` are in the order of the question.

    An hour or day is named by its beginning, as `2026-11-24T22:00Z`. `unpriced` requests were
    answered by targets without a price and are not in `cost_nano_usd`.
    """

    names: tuple[str, ...]
    requests: int
    inputs: int
    tokens: int
    cost_nano_usd: int
    unpriced: int
    cached_tokens: int
    attempts: int
    latency_us: int


@dataclass(frozen=True, slots=True)
class TargetWindow:
    """A target's calls in the present minute and those before it, `minutes` together.

    Calls that ended because nobody waited any more, or because an input was refused, are none of
    these. `available` is the share of calls that gave vectors; `tokens_per_s` are tokens in a
    second in which a call was under way. None where there is nothing to tell from.
    """

    minutes: int
    calls: int
    failures: dict[str, int]
    tokens: int
    tokens_per_s: float | None
    available: float | None
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class TargetAccount:
    """How a target stands, and what it did; `obstacle` says why it is not called now.

    `least_cosine` and `rank_agreement` are of its latest comparison with its space's reference.
    """

    name: str
    space: str
    routes: tuple[str, ...]
    standing: Standing
    obstacle: str | None
    usd_per_million_tokens: float | None
    tokens_in_flight: int
    predicted_wait_s: float
    least_cosine: float | None
    rank_agreement: float | None
    fault: str | None
    windows: tuple[TargetWindow, ...]
