"""`embedway compare --of`: what a running router's targets did with the requests that they had."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from rich.console import Console
from rich.table import Table

from router.domain.errors import ConfigurationError, RequestError, UnknownModelError, UpstreamError
from router.tools.compare import new_table

_TIMEOUT = aiohttp.ClientTimeout(total=30.0)
_MOST_PAGES = 1000

Row = Mapping[str, Any]


async def compare_running(
    url: str, key: str, console: Console, model: str | None, minutes: int
) -> bool:
    """Print the table of a route's targets, or of all; whether each is verified and may be called.

    Raises ConfigurationError for the address, RequestError where the router refuses, UpstreamError
    where it does not answer as a router does, UnknownModelError where no target is of that route.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url}: give http(s)://HOST:PORT of a router")
    try:
        rows = await _targets(url.rstrip("/"), key)
        if model is not None:
            rows = [row for row in rows if model in row["routes"]]
            if not rows:
                raise UnknownModelError(f"there is no route {model!r}")
        console.print(_table(rows, minutes))
        obstacles = {row["name"]: row["obstacle"] for row in rows if row["obstacle"] is not None}
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
        raise UpstreamError(f"the router cannot be asked: {type(error).__name__}") from error
    except (KeyError, TypeError, StopIteration) as error:
        raise UpstreamError("the answer is not a router's list of targets") from error
    for name, obstacle in obstacles.items():
        console.print(f"{name}: {obstacle}", highlight=False)
    console.print(f"Of the last {minutes} minutes, by the process that answered.")
    return not obstacles


async def _targets(url: str, key: str) -> list[Row]:
    """Every page; a list that never ends is no router's."""
    rows: list[Row] = []
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
        for _ in range(_MOST_PAGES):
            page = await _page(session, url, str(rows[-1]["id"]) if rows else None)
            rows += page["data"]
            if not page["has_more"]:
                return rows
    raise UpstreamError("the answer is not a router's list of targets")


async def _page(session: aiohttp.ClientSession, url: str, after: str | None) -> dict[str, Any]:
    query = {} if after is None else {"after": after}
    address = f"{url}/admin/v1/targets"
    # A redirect would carry the key elsewhere.
    async with session.get(address, params=query, allow_redirects=False) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise RequestError(f"the router answers {answer.status}: {_message(body)}")
        page: dict[str, Any] = orjson.loads(body)
        return page


def _table(rows: list[Row], minutes: int) -> Table:
    table = new_table()
    for row in rows:
        window = next(one for one in row["windows"] if one["minutes"] == minutes)
        table.add_row(*_cells(row, window))
    return table


def _cells(row: Row, window: Row) -> tuple[str, ...]:
    available = "-" if window["available"] is None else f"{100 * window['available']:.2f} %"
    if window["failures"]:
        available += " (" + ", ".join(sorted(window["failures"])) + ")"
    return (
        row["name"],
        _figure(row["price_usd_per_million_tokens"], "g", "?"),
        _figure(window["p50_ms"], ".1f"),
        _figure(window["p99_ms"], ".1f"),
        _figure(window["tokens_per_s"], ",.0f"),
        available,
        _figure(row["least_cosine"], ".5f"),
        _figure(row["rank_agreement"], ".4f"),
    )


def _figure(figure: float | None, form: str, without: str = "-") -> str:
    return without if figure is None else format(figure, form)


def _message(body: bytes) -> str:
    """The router's own words, as far as they are of its shape."""
    try:
        return str(orjson.loads(body)["error"]["message"])[:300]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no message"
