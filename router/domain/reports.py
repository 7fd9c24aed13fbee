"""Questions to the ledger, and their answers."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Dimension = Literal["tenant", "key", "route", "target", "space", "status", "hour", "day"]
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
