"""One POST to a provider over pooled connections; what goes wrong comes out in the domain's words.

aiohttp, because a client of httpx's kind costs more than everything else on this path together.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from router.domain.errors import (
    DeadlineExceededError,
    UpstreamContractError,
    UpstreamUnavailableError,
)

_KEEP_ALIVE_S = 30.0
_DNS_CACHE_S = 60


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; header names are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpPost:
    """A pool of connections to one target."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        """`headers` go with every call. Needs a running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ttl_dns_cache=_DNS_CACHE_S, keepalive_timeout=_KEEP_ALIVE_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Vectors hardly get smaller, and unpacking them costs more than the wire does.
            headers={
                "accept-encoding": "identity",
                "content-type": "application/json",
                **headers,
            },
        )

    @property
    def is_open(self) -> bool:
        """Whether calls may still be made."""
        return not self._session.closed

    async def post(
        self,
        url: str,
        body: bytes,
        timeout_s: float,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """The answer, whatever its status; `headers` go with this call beside those of all.

        Raises DeadlineExceededError after `timeout_s` seconds, UpstreamUnavailableError where the
        connection fails, UpstreamContractError where the body is larger than `max_bytes`. A
        redirect is not followed: it would carry the provider's key elsewhere.
        """
        if not self.is_open:
            raise UpstreamUnavailableError("the connection to the target is closed")
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(
                    url, data=body, headers=headers, allow_redirects=False, timeout=_NEVER
                ) as answer,
            ):
                return HttpAnswer(answer.status, answer.headers, await _read(answer, max_bytes))
        except TimeoutError as error:
            raise DeadlineExceededError("the target did not answer in time") from error
        except aiohttp.ClientError as error:
            raise UpstreamUnavailableError(
                "the connection to the target failed: try again soon"
            ) from error

    async def close(self) -> None:
        """Close every connection; calls under way end with UpstreamUnavailableError."""
        await self._session.close()


# The one timeout is ours, which covers the call from the first name look-up to the last byte.
_NEVER = aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None, connect=None)


async def _read(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if (answer.content_length or 0) > max_bytes:
        raise UpstreamContractError("the target's answer is larger than the vectors asked for")
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise UpstreamContractError("the target's answer is larger than the vectors asked for")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
