"""What callers see of quotas: headers as OpenAI's clients read them, and the facts of a refusal.

Source: OpenAI API reference, "Rate limits in headers"; durations are written as `6m0s`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from router.domain.errors import QuotaError
from router.domain.quotas import NANO_USD, Allowance
from router.domain.usage import Receipt
from router.policy.pricing import usd

Headers = list[tuple[bytes, bytes]]

_COST = b"x-embedway-cost-usd"
_PASSED = b"x-embedway-quota-passed"


@dataclass(frozen=True, slots=True)
class QuotaFacts:
    """A refusal in figures; of USD they are decimal, `reset` is a time in UTC or null."""

    name: str
    unit: str
    limit: int | float
    used: int | float
    reset: str | None


def quota_facts(error: QuotaError) -> QuotaFacts:
    """The figures of a refusal."""
    part = NANO_USD if error.unit == "usd" else 1
    reset = None
    if error.reset_s is not None:
        reset = f"{datetime.fromtimestamp(error.reset_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    limit, used = (value / part if part > 1 else value for value in (error.limit, error.used))
    return QuotaFacts(error.quota, error.unit, limit, used, reset)


def receipt_headers(receipt: Receipt | None) -> Headers:
    """Headers of an answer: its cost, what is left of rate limits, and soft quotas passed."""
    if receipt is None:
        return []
    headers: Headers = []
    if receipt.cost_nano_usd is not None:
        headers.append((_COST, usd(receipt.cost_nano_usd).encode()))
    if receipt.requests is not None:
        headers += _allowance_headers(b"requests", receipt.requests)
    if receipt.tokens is not None:
        headers += _allowance_headers(b"tokens", receipt.tokens)
    if receipt.over:
        headers.append((_PASSED, ", ".join(receipt.over).encode("latin-1", "replace")))
    return headers


def refusal_headers(quota: QuotaFacts | None, retry_after_s: int | None) -> Headers:
    """Headers of a refusal by a rate limit, so that clients know when to come back."""
    if quota is None or quota.unit == "usd" or retry_after_s is None:
        return []
    left = max(0, int(quota.limit - quota.used))
    return _lines(quota.unit.encode(), int(quota.limit), left, retry_after_s)


def _allowance_headers(unit: bytes, allowance: Allowance) -> Headers:
    return _lines(unit, allowance.quota.limit, allowance.remaining, allowance.resets_in_s)


def _lines(unit: bytes, limit: int, remaining: int, resets_in_s: int) -> Headers:
    return [
        (b"x-ratelimit-limit-" + unit, b"%d" % limit),
        (b"x-ratelimit-remaining-" + unit, b"%d" % remaining),
        (b"x-ratelimit-reset-" + unit, duration(resets_in_s)),
    ]


def duration(seconds: int) -> bytes:
    """Seconds as `6m0s`, the way that OpenAI writes them."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
