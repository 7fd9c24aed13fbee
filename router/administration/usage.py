"""Reports of usage as people ask for them: words in, rows out."""

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import get_args

from router.domain.clock import Clock
from router.domain.errors import InvalidInputError
from router.domain.ports import UsageReader
from router.domain.reports import DIMENSIONS, Dimension, UsageQuestion, UsageSum
from router.policy.pricing import usd

_LONGEST_NAME = 300
_MONTH_S = 30 * 86_400.0
_NAMES: tuple[Dimension, ...] = tuple(n for n in get_args(Dimension) if n not in ("hour", "day"))
Row = dict[str, str | int]
# What a row says after the names of its group.
FIGURES = (
    "requests", "inputs", "tokens", "cost_usd", "unpriced", "cache_hits", "attempts",
    "mean_latency_ms",
)  # fmt: skip


class UsageAdministration:
    """Asks the ledger. Its methods wait for the database: not on a loop."""

    def __init__(self, reader: UsageReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def report(self, words: Mapping[str, str]) -> list[Row]:
        """Rows for the words `by` (dimensions with commas), `since`, `until` and names.

        Times are dates or moments of ISO 8601, in UTC unless they say otherwise; by default the
        last 30 days. InvalidInputError, StoreUnavailableError.
        """
        question = self._question(words)
        return [_row(question, found) for found in self._reader.sums(question)]

    def _question(self, words: Mapping[str, str]) -> UsageQuestion:
        only: dict[Dimension, str] = {}
        for word, value in words.items():
            name = next((name for name in _NAMES if name == word), None)
            if name is not None:
                only[name] = _name(word, value)
            elif word not in ("by", "since", "until"):
                known = ", ".join(("by", "since", "until", *_NAMES))
                raise InvalidInputError(f"{word[:64]} is no part of a report: {known} are")
        until_s = self._moment(words, "until", self._clock.wall_s())
        since_s = self._moment(words, "since", until_s - _MONTH_S)
        if since_s >= until_s:
            raise InvalidInputError("since must lie before until", param="since")
        return UsageQuestion(_dimensions(words.get("by", "")), since_s, until_s, only)

    def _moment(self, words: Mapping[str, str], word: str, default_s: float) -> float:
        value = words.get(word)
        if value is None:
            return default_s
        try:
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return moment.timestamp()
        except (ValueError, OverflowError) as error:
            raise InvalidInputError(
                f"{word} must be a time as 2026-11-24 or 2026-11-24T22:00:00Z", param=word
            ) from error


def as_csv(words: Mapping[str, str], rows: list[Row]) -> str:
    """The rows with a line of their names; without a row, that line alone."""
    names = [*_dimensions(words.get("by", "")), *FIGURES]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _name(word: str, value: str) -> str:
    """What no record can hold, databases would refuse in their own way."""
    if not value.isprintable() or len(value) > _LONGEST_NAME:
        raise InvalidInputError(f"{word} is no name", param=word)
    return value


def _row(question: UsageQuestion, found: UsageSum) -> Row:
    row: Row = {}
    row.update(zip(question.by, found.names, strict=True))
    return row | {
        "requests": found.requests,
        "inputs": found.inputs,
        "tokens": found.tokens,
        "cost_usd": usd(found.cost_nano_usd),
        "unpriced": found.unpriced,
        "cache_hits": found.cache_hits,
        "attempts": found.attempts,
        "mean_latency_ms": round(found.latency_us / found.requests / 1000),
    }


def _dimensions(text: str) -> tuple[Dimension, ...]:
    chosen: list[Dimension] = []
    for word in filter(None, text.split(",")):
        name = next((name for name in DIMENSIONS if name == word.strip()), None)
        if name is None or name in chosen:
            known = ", ".join(DIMENSIONS)
            raise InvalidInputError(f"by takes some of {known}, each once", param="by")
        chosen.append(name)
    return tuple(chosen)


def _harmless(value: str | int) -> str | int:
    """A name that a spreadsheet would take for a formula, quoted for it."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" and value else value
