"""The one line that the log has of each request."""

from router.domain.journal import Ending, Facts, Journal
from router.domain.quotas import NANO_USD
from router.telemetry.logs import Log
from router.telemetry.spans import outcome_of


def write_line(log: Log, journal: Journal, facts: Facts, ending: Ending, arrived_s: float) -> None:
    """Names, counts and durations; `arrived_s` is on the monotonic clock.

    `*_ms` are milliseconds: of the whole, of each phase, and of all calls to targets together.
    """
    fields: dict[str, str | float | None] = {
        "request_id": ending.request_id,
        "trace_id": journal.trace_id or None,
        "span_id": journal.span_id or None,
        "method": ending.method,
        "status": ending.status,
        "outcome": outcome_of(facts, ending.status),
        "ms": _ms(ending.ended_s - arrived_s),
        "error": facts.error,
        "tenant": facts.tenant,
        "key": facts.key,
        "route": facts.route,
        "space": facts.space,
        "target": facts.target,
        "inputs": facts.inputs,
        "tokens": facts.tokens,
        "cached_tokens": facts.cached_tokens,
        "attempts": facts.attempts,
    }
    if facts.cost_nano_usd is not None:
        fields["cost_usd"] = facts.cost_nano_usd / NANO_USD
    for phase in journal.phases:
        name = f"{phase.name}_ms"
        before = fields.get(name) or 0.0
        fields[name] = _ms(max(0.0, phase.ended_s - phase.begun_s)) + float(before)
    if journal.attempts:
        fields["targets_ms"] = round(sum(one.latency_ms for one in journal.attempts), 2)
    log.event("request", **{name: value for name, value in fields.items() if value is not None})


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
