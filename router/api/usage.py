"""`GET /admin/v1/usage`: what was used, by anything, as JSON or CSV."""

import asyncio
from urllib.parse import parse_qsl

import orjson

from router.administration.usage import UsageAdministration, as_csv
from router.api.exchange import Exchange, Reply
from router.domain.errors import InvalidInputError, ScopeError
from router.domain.types import Caller, Scope

_CSV = b"text/csv; charset=utf-8"


class UsageDoor:
    """Administrators see all; a key of the scope `usage` sees its own tenant's."""

    def __init__(self, usage: UsageAdministration) -> None:
        self._usage = usage

    async def usage(self, exchange: Exchange) -> Reply:
        """A report; InvalidInputError, ScopeError."""
        words = _words(exchange)
        kind = words.pop("format", "json")
        if kind not in ("json", "csv"):
            raise InvalidInputError("format must be json or csv", param="format")
        _require_own(exchange.payer, words)
        rows = await asyncio.to_thread(self._usage.report, words)
        if kind == "csv":
            return Reply(200, as_csv(words, rows).encode(), content_type=_CSV)
        return Reply(200, orjson.dumps({"object": "list", "data": rows}))


def _require_own(caller: Caller, words: dict[str, str]) -> None:
    """Narrow the report down to the caller's tenant, unless it administers all."""
    if Scope.ADMIN in caller.scopes:
        return
    if words.setdefault("tenant", caller.tenant) != caller.tenant:
        raise ScopeError("this key may read the usage of its own tenant only")


def _words(exchange: Exchange) -> dict[str, str]:
    words: dict[str, str] = {}
    for name, value in parse_qsl(exchange.query.decode("latin-1"), keep_blank_values=True):
        if name in words:
            raise InvalidInputError(f"{name[:64]} stands twice", param=None)
        words[name] = value
    return words
