"""Times and counts in a provider's headers."""

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from router.config.profiles import RateLimitHeaders

# A provider that asks for more is believed for this long, then asked again.
_LONGEST_S = 3600.0
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def retry_after_s(headers: Mapping[str, str], wall_s: float) -> float | None:
    """Seconds that Retry-After asks for, as a number or a date (RFC 9110, 10.2.3), or None."""
    value = headers.get("retry-after", "").strip()
    seconds = duration_s(value)
    if seconds is None and value:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        # A date without a zone is in UTC.
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = max(0.0, moment.timestamp() - wall_s)
    return None if seconds is None else min(seconds, _LONGEST_S)


def exhausted(headers: Mapping[str, str], names: RateLimitHeaders) -> list[tuple[int, float]]:
    """(what is left, seconds until it is renewed) of each limit that the headers tell of."""
    pairs = (
        (names.remaining_requests, names.reset_requests),
        (names.remaining_tokens, names.reset_tokens),
    )
    found = []
    for remaining, reset in pairs:
        left = headers.get(remaining or "", "").strip()
        seconds = duration_s(headers.get(reset or "", "").strip())
        if left.isdecimal() and seconds is not None:
            found.append((int(left), min(seconds, _LONGEST_S)))
    return found


def duration_s(value: str) -> float | None:
    """Seconds of `12`, `1.5`, `20ms`, `6m0s` or `1h2m3s`; None where it is none of them."""
    parts = _PART.findall(value)
    if parts and "".join(number + unit for number, unit in parts) == value:
        return math.fsum(float(number) * _UNIT_S[unit] for number, unit in parts)
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
