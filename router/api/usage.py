"""`GET /admin/v1/usage`: sums of the ledger by any dimensions, as JSON or CSV."""

import asyncio
from typing import cast
from urllib.parse import parse_qsl

import orjson

from router.administration.usage import as_csv, usage_rows
from router.api.exchange import Exchange, Reply
from router.domain.clock import Clock
from router.domain.errors import InvalidInputError, ScopeError
from router.domain.ports import UsageReader
from router.domain.reports import DIMENSIONS, Dimension, UsageQuestion
from router.domain.types import Caller, Scope

_CSV = b"text/csv; charset=utf-8"
_DAY_S = 86_400
_DEFAULT_DAYS = 30
MAX_GROUPS = 10_000
DEFAULT_GROUPS = 1000
# 31 December 9999, the last second that a calendar knows.
LATEST_S = 253_402_300_799
# Times group; to pick some, since and until are there.
FILTERS: tuple[Dimension, ...] = ("tenant", "key", "route", "target", "space", "status")
_KNOWN = ("group_by", "since", "until", "limit", "format", *FILTERS)


class UsageDoor:
    """Reads the ledger. A key with `usage` alone sees its own tenant, one with `admin` all."""

    def __init__(self, reader: UsageReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def usage(self, exchange: Exchange) -> Reply:
        """Sums by the dimensions of `group_by`; InvalidInputError, ScopeError."""
        given = _parameters(exchange.query)
        limit = _number(given, "limit", DEFAULT_GROUPS, 1, MAX_GROUPS)
        question = self._question(given, limit)
        if exchange.caller is not None:
            _confine(question, exchange.caller)
        form = given.get("format", "json")
        if form not in ("json", "csv"):
            raise InvalidInputError("format must be json or csv", param="format")
        sums = await asyncio.to_thread(self._reader.sums, question)
        rows = usage_rows(question.by, sums[:limit])
        if form == "csv":
            return Reply(200, as_csv(question.by, rows).encode(), content_type=_CSV)
        body = {"object": "list", "data": rows, "has_more": len(sums) > limit}
        return Reply(200, orjson.dumps(body))

    def _question(self, given: dict[str, str], limit: int) -> UsageQuestion:
        now_s = int(self._clock.wall_s())
        until_s = _number(given, "until", now_s + 1, 1, LATEST_S)
        first_s = max(0, (until_s // _DAY_S - _DEFAULT_DAYS) * _DAY_S)
        since_s = _number(given, "since", first_s, 0, LATEST_S)
        if since_s >= until_s:
            raise InvalidInputError("since must lie before until", param="since")
        only = {name: given[name] for name in FILTERS if name in given}
        return UsageQuestion(_dimensions(given), since_s, until_s, only, most=limit + 1)


def _confine(question: UsageQuestion, caller: Caller) -> None:
    """What others use is for administrators."""
    if Scope.ADMIN in caller.scopes:
        return
    if question.only.setdefault("tenant", caller.tenant) != caller.tenant:
        raise ScopeError("This API key may read the usage of its own tenant only.", "tenant")


def _parameters(query: bytes) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in _KNOWN:
            known = ", ".join(_KNOWN)
            raise InvalidInputError(f"{name[:64]!r} is not a parameter: known are {known}")
        if name in given or not value or len(value) > 300 or not value.isprintable():
            raise InvalidInputError(f"{name} must stand there once, with a value", param=name)
        given[name] = value
    return given


def _dimensions(given: dict[str, str]) -> tuple[Dimension, ...]:
    words = given.get("group_by", "tenant").split(",")
    if len(set(words)) < len(words) or not set(words) <= set(DIMENSIONS):
        known = ", ".join(DIMENSIONS)
        raise InvalidInputError(f"group_by takes, with commas between: {known}", param="group_by")
    return tuple(cast("Dimension", word) for word in words)


def _number(given: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:15]) <= most:
        raise InvalidInputError(f"{name} must be a whole number within {least} and {most}", name)
    return int(text[:15])
