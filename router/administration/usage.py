"""Answers of the ledger as rows: the same for the admin API, the command line and spreadsheets."""

import csv
import io
from collections.abc import Sequence

from router.domain.quotas import NANO_USD
from router.domain.reports import Dimension, UsageSum

Cell = str | int | float
SUMS = (
    "requests",
    "inputs",
    "tokens",
    "cost_usd",
    "cost_nano_usd",
    "unpriced_requests",
    "cache_hits",
    "attempts",
    "mean_latency_ms",
)


def usage_rows(by: Sequence[Dimension], sums: Sequence[UsageSum]) -> list[dict[str, Cell]]:
    """One row a group: its names by dimension, then its sums.

    `cost_nano_usd` is exact; `cost_usd` is for people.
    """
    return [{**dict(zip(by, item.names, strict=True)), **_sums(item)} for item in sums]


def as_csv(by: Sequence[Dimension], rows: Sequence[dict[str, Cell]]) -> str:
    """The rows under a line of headings, as RFC 4180 has it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*by, *SUMS])
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _sums(item: UsageSum) -> dict[str, Cell]:
    return {
        "requests": item.requests,
        "inputs": item.inputs,
        "tokens": item.tokens,
        "cost_usd": item.cost_nano_usd / NANO_USD,
        "cost_nano_usd": item.cost_nano_usd,
        "unpriced_requests": item.unpriced,
        "cache_hits": item.cache_hits,
        "attempts": item.attempts,
        "mean_latency_ms": round(item.latency_us / max(1, item.requests) / 1000, 3),
    }


def _safe(value: Cell) -> Cell:
    """A name that a spreadsheet would take for a formula, made text; providers choose names."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return "'" + value
    return value
