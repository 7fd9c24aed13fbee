"""Windows of time: each starts anew by the calendar in UTC, so none is ever forgotten to reset."""

from datetime import UTC, datetime

from router.domain.quotas import Span, Window

_LENGTHS_S: dict[Window, int] = {"minute": 60, "hour": 3600, "day": 86_400}


def span_of(window: Window, wall_s: float) -> Span:
    """The turn of a window that a moment (seconds since the Unix epoch) lies in."""
    if window == "total":
        return Span(0, None)
    if window == "month":
        return _month(wall_s)
    length_s = _LENGTHS_S[window]
    start_s = int(wall_s // length_s) * length_s
    return Span(start_s, start_s + length_s)


def _month(wall_s: float) -> Span:
    now = datetime.fromtimestamp(wall_s, UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return Span(int(first.timestamp()), int(following.timestamp()))
