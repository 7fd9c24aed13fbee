"""Reports of usage: sums of the roll-ups by any dimensions."""

from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, func, select

from router.domain.reports import Dimension, UsageQuestion, UsageSum
from router.domain.usage import UsageRecord
from router.store.engine import reading, transaction
from router.store.tables import usage, usage_rollups

_HOUR_S, _DAY_S = 3600, 86_400
_COLUMNS = usage_rollups.c
_DIMENSIONS: dict[Dimension, ColumnElement[Any]] = {
    "tenant": _COLUMNS.tenant,
    "key": _COLUMNS.key_name,
    "route": _COLUMNS.route,
    "target": _COLUMNS.target,
    "space": _COLUMNS.space,
    "status": _COLUMNS.status,
    "hour": _COLUMNS.start_s,
    "day": _COLUMNS.start_s - _COLUMNS.start_s % _DAY_S,
}
_SUMS = ("requests", "inputs", "tokens", "cost_nano_usd", "unpriced", "cached_tokens", "attempts",
         "latency_us")  # fmt: skip


class UsageReports:
    """Reads the ledger. All raise StoreUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sums(self, question: UsageQuestion) -> list[UsageSum]:
        """The sums of each group, those that cost most first, or by time where that is asked."""
        period, since_s, until_s = _stretch(question)
        groups = [_DIMENSIONS[name].label(f"by_{name}") for name in question.by]
        sums = [func.sum(_COLUMNS[name]).label(name) for name in _SUMS]
        query = select(*groups, *sums).where(
            _COLUMNS.period == period, _COLUMNS.start_s >= since_s, _COLUMNS.start_s < until_s
        )
        for name, value in question.only.items():
            query = query.where(_DIMENSIONS[name] == value)
        query = query.group_by(*groups).order_by(*_order(question.by, groups, sums))
        with transaction(reading(self._engine)) as connection:
            rows = connection.execute(query.limit(question.most)).all()
        return [_sum(row, question.by) for row in rows if row.requests]


class UsageRecords:
    """Reads single records of the ledger. Raises StoreUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_request(self, request_id: str, most: int = 10) -> list[UsageRecord]:
        """Records of requests that bear the name, newest first: clients may use one again."""
        columns = [usage.c[one.name] for one in dataclass_fields(UsageRecord)]
        query = select(*columns).where(usage.c.request_id == request_id)
        query = query.order_by(usage.c.time_s.desc()).limit(most)
        with transaction(reading(self._engine)) as connection:
            return [UsageRecord(*row) for row in connection.execute(query)]


def _stretch(question: UsageQuestion) -> tuple[str, int, int]:
    """Roll-ups by day where they will do: there are fewer, and they are kept for longer."""
    since_s = int(question.since_s // _HOUR_S * _HOUR_S)
    until_s = int(-(-question.until_s // _HOUR_S) * _HOUR_S)
    has_days = since_s % _DAY_S == 0 and until_s % _DAY_S == 0 and "hour" not in question.by
    return "day" if has_days else "hour", since_s, until_s


def _order(
    by: Sequence[Dimension],
    groups: Sequence[ColumnElement[Any]],
    sums: Sequence[ColumnElement[Any]],
) -> list[ColumnElement[Any]]:
    times = [group for name, group in zip(by, groups, strict=True) if name in ("hour", "day")]
    cost, tokens = sums[3], sums[2]
    return [*times, cost.desc(), tokens.desc(), *groups]


def _sum(row: Row[*tuple[Any, ...]], by: Sequence[Dimension]) -> UsageSum:
    values = tuple(row)
    names = tuple(
        _instant(int(value)) if name in ("hour", "day") else str(value)
        for name, value in zip(by, values, strict=False)
    )
    return UsageSum(names, *(int(value) for value in values[len(by) :]))


def _instant(moment_s: int) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%MZ}"
