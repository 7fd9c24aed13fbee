"""What a caller is told where a quota refuses: which, its limit, what is used, until when."""

import math
from datetime import UTC, datetime

from router.domain.errors import (
    BudgetExhaustedError,
    PriceUnknownError,
    QuotaError,
    RateLimitedError,
)
from router.domain.quotas import Quota, Span
from router.policy.pricing import usd


def refusal(quota: Quota, span: Span, asked: int, remaining: int, wall_s: float) -> QuotaError:
    """The error for a request that needs `asked` of a quota of which `remaining` is left."""
    used = max(0, quota.limit - remaining)
    reset = _instant(span.end_s)
    kind = BudgetExhaustedError if quota.is_budget else RateLimitedError
    retry_after_s = None if span.end_s is None else max(1, math.ceil(span.end_s - wall_s))
    if asked > quota.limit:
        told = f"this request alone may take {amount(quota, asked)}, more than the whole"
    else:
        told = f"this request may take {amount(quota, asked)}"
    return kind(
        f"Quota {quota.id}: {amount(quota, used)} of {amount(quota, quota.limit)} used or "
        f"reserved, {told}. It resets {reset}.",
        quota=quota.id,
        unit=quota.unit,
        limit=quota.limit,
        used=used,
        reset_s=span.end_s,
        retry_after_s=retry_after_s,
    )


def unpriced(quota: Quota, route: str) -> PriceUnknownError:
    """The error where a budget in USD applies to a route that has a target without a price."""
    return PriceUnknownError(
        f"Quota {quota.id} limits USD, and a target of {route} has no price: "
        "set price_usd_per_million_tokens.",
        quota=quota.id,
        unit=quota.unit,
        limit=quota.limit,
    )


def amount(quota: Quota, value: int) -> str:
    """An amount with its unit."""
    return f"{usd(value)} USD" if quota.unit == "usd" else f"{value} {quota.unit}"


def _instant(moment_s: int | None) -> str:
    if moment_s is None:
        return "never"
    return f"at {datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
