"""Fetches a provider's small public documents; rare, so a thread and the standard library do."""

import asyncio
import http.client
import ssl
from urllib.parse import urlsplit

_TIMEOUT_S = 3.0
_MAX_BYTES = 1 << 20


class FetchError(Exception):
    """The document did not come. Callers hear of it as KeysUnavailableError."""


async def fetch(url: str) -> bytes:
    """Body of a GET to an http:// or https:// address; FetchError. Follows no redirect."""
    return await asyncio.to_thread(_get, url)


def _get(url: str) -> bytes:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    try:
        connection.request("GET", path, headers={"accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read(_MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(type(error).__name__) from error
    finally:
        connection.close()
    if answer.status != http.client.OK or len(body) > _MAX_BYTES:
        raise FetchError(f"status {answer.status}, {len(body)} bytes")
    return body


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
