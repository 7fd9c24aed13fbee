"""How a target stands and what it did, for people."""

from collections.abc import Sequence

from router.domain.reports import TargetAccount
from router.routing.targets import TargetState
from router.routing.verification import Record

# The last minutes, and the last hour.
_WINDOWS_MINUTES = (5, 60)


def account_of(
    state: TargetState, space: str, routes: Sequence[str], record: Record | None, now_s: float
) -> TargetAccount:
    """The account of one target; `record` is of its comparisons, None where it has none."""
    last = None if record is None else record.last
    return TargetAccount(
        name=state.name,
        space=space,
        routes=tuple(routes),
        standing=state.standing.value,
        obstacle=state.obstacle(),
        usd_per_million_tokens=state.limits.price_usd,
        tokens_in_flight=state.tokens_in_flight,
        predicted_wait_s=state.predicted_wait_s(),
        least_cosine=None if last is None else last.least_cosine,
        rank_agreement=None if last is None else last.rank_agreement,
        fault=None if record is None else record.fault,
        windows=tuple(state.figures.window(minutes, now_s) for minutes in _WINDOWS_MINUTES),
    )
