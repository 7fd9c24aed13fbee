"""One HTTP request and its reply, on bare ASGI: on this path a framework costs more than the work.

Source: ASGI specification 3.0, HTTP connection scope.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.api.metering import receipt_headers
from router.domain.errors import AuthenticationError, BodyTooLargeError, RequestTimeoutError
from router.domain.journal import Attempt, Facts, Journal
from router.domain.ports import Recorder
from router.domain.types import Caller, EmbeddingResult

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
# In a request: the space that the answer must come from. In an answer: where it came from.
SPACE_HEADER = "x-embedway-space"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TARGET_HEADER = b"x-embedway-target"
# In a request: a word that the route's rules may look at.
TAG_HEADER = "x-embedway-tag"
# In an answer that took more than one call: each target and how its call ended.
_ATTEMPTS_HEADER = b"x-embedway-attempts"

# A header has to stay short; the log has the same bound.
_MOST_ATTEMPTS = 20
# A fast answer is sent before anyone could leave; only slower work is worth a watcher task.
_WATCH_AFTER_S = 0.005
# A body over the limit is read on and dropped up to here, so that its sender gets to read the
# 413 instead of a broken connection.
_DISCARD_BYTES = 64 * 1024 * 1024


class ClientLeftError(Exception):
    """The client closed the connection before its body was complete. Nobody sees this."""


@dataclass(slots=True)
class Reply:
    """What goes back."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Headers = field(default_factory=list)


def answered(facts: Facts, result: EmbeddingResult) -> None:
    """Note what came of a request."""
    facts.target, facts.tokens, facts.space = result.target, result.prompt_tokens, result.space
    facts.cached_tokens = result.cached_tokens or None
    facts.attempts = _attempts(result.attempts)
    if result.receipt is not None:
        facts.cost_nano_usd = result.receipt.cost_nano_usd


def request_id(shown: bytes | None) -> str:
    """The client's own name for its request where that is one, else a new name."""
    if shown is not None and _REQUEST_ID.fullmatch(shown):
        return shown.decode()
    return os.urandom(16).hex()


def origin(result: EmbeddingResult) -> Headers:
    """Headers that say which space and target the vectors are from, what it took and cost."""
    headers = [
        (SPACE_HEADER.encode(), result.space.encode()),
        (_TARGET_HEADER, result.target.encode()),
        *receipt_headers(result.receipt),
    ]
    attempts = _attempts(result.attempts)
    if attempts is not None:
        headers.append((_ATTEMPTS_HEADER, attempts.encode()))
    return headers


def _attempts(attempts: Sequence[Attempt]) -> str | None:
    """`first=upstream_unavailable;12ms, second=ok;80ms`, or None where one call was enough."""
    if len(attempts) < 2:
        return None
    return ", ".join(
        f"{one.target}={one.outcome};{one.latency_ms:.0f}ms" for one in attempts[:_MOST_ATTEMPTS]
    )


class Exchange:
    """A request being answered."""

    def __init__(
        self, scope: MutableMapping[str, Any], receive: Receive, request_id: str, arrived_s: float
    ) -> None:
        """`arrived_s` is on the monotonic clock."""
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.request_id = request_id
        self.arrived_s = arrived_s
        self.facts = Facts()
        # What happens to it, for its trace.
        self.journal = Journal()
        # The path's pattern, with the names of its parts; empty where there is no such path.
        self.template = ""
        self.asks_for_vectors = False
        # Who asks; None where the path needs no key.
        self.caller: Caller | None = None
        self.client_left = False
        # Set where a body was not read to its end: what follows on the connection is its rest.
        self.must_close = False
        self._headers: Headers = scope["headers"]
        self._receive = receive
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """Value of the first header of that lower-case name."""
        for key, value in self._headers:
            if key == name:
                return value
        return None

    def joined(self, name: bytes) -> bytes | None:
        """Values of all headers of that lower-case name, as one list."""
        values = [value for key, value in self._headers if key == name]
        return b",".join(values) if values else None

    @property
    def pinned_space(self) -> str | None:
        """The space that the caller pins the request to."""
        value = self.header(SPACE_HEADER.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def tag(self) -> str | None:
        """The word that the caller gives the request for the route's rules."""
        value = self.header(TAG_HEADER.encode())
        return None if value is None else value.decode("latin-1")

    def begin(self, recorder: Recorder) -> None:
        """From now on it is traced."""
        parent = self.header(b"traceparent")
        if parent is None:
            self.journal = recorder.begin(None, None, self.arrived_s)
            return
        state = (self.joined(b"tracestate") or b"").decode("latin-1")
        self.journal = recorder.begin(parent.decode("latin-1"), state, self.arrived_s)

    @property
    def tenant(self) -> str | None:
        """Whose key it was; None where the path needs none."""
        return None if self.caller is None else self.caller.tenant

    @property
    def payer(self) -> Caller:
        """Who asks, where the path needs a key."""
        if self.caller is None:
            raise AuthenticationError("this path needs a key")
        return self.caller

    async def body(self, max_bytes: int, timeout_s: float) -> bytes:
        """The whole body; BodyTooLargeError, or RequestTimeoutError where it does not come.

        From here on a client that leaves cancels us.
        """
        self.must_close = True
        try:
            async with asyncio.timeout(timeout_s):
                body = await self._read(max_bytes)
        except TimeoutError as error:
            raise RequestTimeoutError("the request's body did not come in time") from error
        self.must_close = False
        self._watch_for_leaving()
        return body

    async def _read(self, max_bytes: int) -> bytes:
        declared = self.header(b"content-length")
        too_large = declared is not None and declared.isdigit() and int(declared) > max_bytes
        chunks: list[bytes] = []
        size, more = 0, True
        while more and size < max_bytes + _DISCARD_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            chunk = message.get("body", b"")
            size += len(chunk)
            too_large = too_large or size > max_bytes
            if not too_large:
                chunks.append(chunk)
            more = message.get("more_body", False)
        if too_large:
            raise BodyTooLargeError(
                f"the request body is larger than {max_bytes} bytes: send fewer inputs at a time"
            )
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """Stop watching for the client to leave."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _watch_for_leaving(self) -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._watcher = loop.create_task(self._cancel_on_leaving(task))

        self._timer = loop.call_later(_WATCH_AFTER_S, begin)

    async def _cancel_on_leaving(self, task: "asyncio.Task[Any] | None") -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect" and task is not None:
            self.client_left = True
            task.cancel()
