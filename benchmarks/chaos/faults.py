"""Ways in which a provider fails; each takes the place of its answer."""

import asyncio
import contextlib
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from benchmarks.chaos.local_provider import Fault, LocalProvider, reply
from benchmarks.chaos.manners import refusal

RETRY_AFTER_S = 1
_TRICKLE_S = 0.2


def _body(provider: LocalProvider, body: dict[str, Any]) -> bytes:
    return orjson.dumps(provider.document(body), option=orjson.OPT_SERIALIZE_NUMPY)


async def hang(provider: LocalProvider, request: web.Request, body: dict[str, Any]) -> Any:  # noqa: ANN401
    """Takes the request and never answers."""
    del provider, request, body
    await asyncio.sleep(3600)


async def reset_mid_body(
    provider: LocalProvider, request: web.Request, body: dict[str, Any]
) -> web.StreamResponse:
    """Breaks the connection in the middle of the answer."""
    content = _body(provider, body)
    response = web.StreamResponse(headers={"content-length": str(len(content))})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response


async def slow_trickle(
    provider: LocalProvider, request: web.Request, body: dict[str, Any]
) -> web.StreamResponse:
    """A byte now and then: no silence that a read timeout would notice."""
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for byte in _body(provider, body):
            await response.write(bytes([byte]))
            await asyncio.sleep(_TRICKLE_S)
    return response


async def rate_limited(
    provider: LocalProvider, request: web.Request, body: dict[str, Any]
) -> web.Response:
    """429 with Retry-After."""
    del request, body
    message = refusal(provider.manners, "Rate limit reached", "rate_limit_exceeded")
    return reply(message, 429, {"retry-after": str(RETRY_AFTER_S)})


async def out_of_credit(
    provider: LocalProvider, request: web.Request, body: dict[str, Any]
) -> web.Response:
    """OpenAI's 429 that no waiting helps."""
    del request, body
    return reply(refusal(provider.manners, "You exceeded your quota", "insufficient_quota"), 429)


async def server_error(
    provider: LocalProvider, request: web.Request, body: dict[str, Any]
) -> web.Response:
    """500."""
    del request, body
    return reply(refusal(provider.manners, "The server had an error"), 500)


async def truncated_json(
    provider: LocalProvider, request: web.Request, body: dict[str, Any]
) -> web.Response:
    """A complete HTTP answer whose JSON is cut."""
    del request
    content = _body(provider, body)
    return web.Response(body=content[: len(content) * 2 // 3], content_type="application/json")


def _with_items(change: Any) -> Fault:  # noqa: ANN401
    async def fault(
        provider: LocalProvider, request: web.Request, body: dict[str, Any]
    ) -> web.Response:
        del request
        document = provider.document(body)
        document["data"] = change(provider, body, document["data"])
        return reply(document)

    return fault


def _nan(provider: LocalProvider, body: dict[str, Any], items: list[Any]) -> list[Any]:
    vector = provider.vector("anything")
    vector[3] = np.nan
    items[-1]["embedding"] = provider.written(vector, body)
    return items


def _narrower(provider: LocalProvider, body: dict[str, Any], items: list[Any]) -> list[Any]:
    for item in items:
        vector = provider.vector("anything")[:-1]
        item["embedding"] = provider.written(vector / np.linalg.norm(vector), body)
    return items


def _same_vector(provider: LocalProvider, body: dict[str, Any], items: list[Any]) -> list[Any]:
    del provider, body
    for item in items:
        item["embedding"] = items[0]["embedding"]
    return items


async def other_model(
    provider: LocalProvider, request: web.Request, body: dict[str, Any]
) -> web.Response:
    """Vectors that look right in every way, of another model."""
    del request
    before, provider.model = provider.model, "other"
    document = provider.document(body)
    provider.model = before
    return reply(document)


FAULTS: dict[str, Fault] = {
    "hang": hang,
    "reset mid-body": reset_mid_body,
    "slow trickle": slow_trickle,
    "429 with Retry-After": rate_limited,
    "500 burst": server_error,
    "truncated JSON": truncated_json,
    "vector missing": _with_items(lambda _, __, items: items[:-1]),
    "index duplicated": _with_items(lambda _, __, items: [*items[:-1], {**items[0]}]),
    "one vector for all": _with_items(_same_vector),
    "order reversed": _with_items(lambda _, __, items: items[::-1]),
    "rows shifted": _with_items(
        lambda _, __, items: [
            {**item, "embedding": items[place - 1]["embedding"]} for place, item in enumerate(items)
        ]
    ),
    "NaN": _with_items(_nan),
    "wrong dimension": _with_items(_narrower),
    "another model": other_model,
}
