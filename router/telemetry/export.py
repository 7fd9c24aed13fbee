"""Sends encoded spans to a collector: in batches, beside all requests, bounded in memory.

Nothing here is ever waited for by a request. What does not fit is dropped and counted; a collector
that is down, slow or full is tried again later and later, while new spans find the queue full.
Source: OTLP 1.5 over HTTP, binary protobuf; its retryable statuses and Retry-After.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from router.domain.clock import Clock
from router.telemetry.logs import Log
from router.telemetry.otlp import Envelope, fields

PROTOBUF = "application/x-protobuf"
_PATH = "/v1/traces"
# Of one body. Bodies of a megabyte and more hold up the loop while they are written.
_BATCH_BYTES = 256 * 1024
_MOST_TRIES = 6
_FIRST_WAIT_S, _MOST_WAIT_S = 0.5, 30.0
_RETRYABLE = frozenset({408, 429, 502, 503, 504})
_MOST_ANSWER_BYTES = 64 * 1024
_NEVER = aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None, connect=None)


@dataclass(frozen=True, slots=True)
class Collector:
    """Where to send to: base address, headers (secrets among them), seconds for one export."""

    endpoint: str
    headers: Mapping[str, str]
    timeout_s: float

    def __repr__(self) -> str:
        return "Collector()"

    def url(self, path: str) -> str:
        """Where a signal is posted to."""
        return self.endpoint.rstrip("/") + path


@dataclass(slots=True)
class ExportFigures:
    """Spans since the start: taken by the collector, and given up for which reason."""

    exported: int = 0
    dropped_full: int = 0
    dropped_refused: int = 0
    dropped_at_end: int = 0

    @property
    def dropped(self) -> int:
        """All that no collector will see."""
        return self.dropped_full + self.dropped_refused + self.dropped_at_end


class SpanExporter:
    """The queue and the task that empties it; everything on one event loop."""

    def __init__(
        self,
        collector: Collector,
        envelope: Envelope,
        clock: Clock,
        log: Log,
        *,
        queue_bytes: int,
        interval_s: float,
        flush_timeout_s: float,
    ) -> None:
        """Batches leave every `interval_s` seconds, or earlier where they are large."""
        self._collector = collector
        self._envelope = envelope
        self._clock = clock
        self._log = log
        self._queue_bytes = queue_bytes
        self._interval_s = interval_s
        self._flush_timeout_s = flush_timeout_s
        self._queue: deque[tuple[bytes, int]] = deque()
        self.waiting_bytes = 0
        self.figures = ExportFigures()
        self._is_reachable = True
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def offer(self, spans: bytes, count: int) -> None:
        """Take encoded spans, all of them or none: dropped and counted where the queue is full."""
        if self.waiting_bytes + len(spans) > self._queue_bytes:
            self.figures.dropped_full += count
            return
        self._queue.append((spans, count))
        self.waiting_bytes += len(spans)
        if self.waiting_bytes >= _BATCH_BYTES and not self._wake.is_set():
            self._wake.set()

    def start(self) -> None:
        """Send from now on; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Send what waits, within a bound of time; the rest is counted as dropped."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._flush_timeout_s):
                    await self._task
        self.figures.dropped_at_end += sum(count for _, count in self._queue)
        self._queue.clear()
        self.waiting_bytes = 0

    async def _work(self) -> None:
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**self._collector.headers, "content-type": PROTOBUF},
        ) as session:
            while self._queue or not self._closing.is_set():
                if self.waiting_bytes < _BATCH_BYTES and not self._closing.is_set():
                    self._wake.clear()
                    await _wait(self._wake, self._interval_s)
                if self._queue:
                    await self._send(session, *self._batch())

    def _batch(self) -> tuple[list[bytes], int]:
        """The oldest spans that fit one body; they count as waiting until they are sent."""
        spans: list[bytes] = []
        size, total = 0, 0
        while self._queue and (not spans or size + len(self._queue[0][0]) <= _BATCH_BYTES):
            one, count = self._queue.popleft()
            spans.append(one)
            size += len(one)
            total += count
        return spans, total

    async def _send(self, session: aiohttp.ClientSession, spans: list[bytes], count: int) -> None:
        """Try until the collector takes or refuses the batch, or it has been tried too often.

        Once we are closing, a batch gets one try: nobody waits for a collector to come back.
        """
        body = self._envelope.request(spans)
        has_ended = False
        try:
            for tries in range(_MOST_TRIES):
                patience_s = min(_FIRST_WAIT_S * 2**tries, _MOST_WAIT_S)
                wait_s = await self._try(session, body, count, patience_s)
                has_ended = wait_s is None
                if wait_s is None or self._closing.is_set():
                    return
                await _wait(self._closing, wait_s)
            has_ended = True
            self.figures.dropped_refused += count
        finally:
            self.waiting_bytes -= sum(map(len, spans))
            if not has_ended:
                self.figures.dropped_at_end += count

    async def _try(
        self, session: aiohttp.ClientSession, body: bytes, count: int, wait_s: float
    ) -> float | None:
        """Seconds after which to try again; None where there is nothing left to try."""
        url = self._collector.url(_PATH)
        try:
            async with (
                asyncio.timeout(self._collector.timeout_s),
                session.post(url, data=body, allow_redirects=False, timeout=_NEVER) as answer,
            ):
                status, asked = answer.status, answer.headers.get("retry-after", "")
                content = await answer.content.read(_MOST_ANSWER_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._report(type(error).__name__)
            return wait_s
        if status in _RETRYABLE:
            self._report(str(status))
            # Whatever it asks for, not at once, and not for ever later.
            return min(max(float(asked), wait_s), _MOST_WAIT_S) if asked.isdigit() else wait_s
        if status // 100 != 2:
            self._report(str(status))
            self.figures.dropped_refused += count
            return None
        rejected = min(_rejected(content), count)
        self.figures.dropped_refused += rejected
        self.figures.exported += count - rejected
        self._report(None)
        return None

    def _report(self, reason: str | None) -> None:
        """Say so when the collector goes and when it comes back, not at every try."""
        if self._is_reachable is (reason is None):
            return
        self._is_reachable = reason is None
        self._log.event(
            "export",
            signal="traces",
            reachable=self._is_reachable,
            reason=reason,
            dropped=self.figures.dropped,
        )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for it, but not longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _rejected(content: bytes) -> int:
    """Spans that the collector says it refused: partial_success.rejected_spans."""
    with contextlib.suppress(ValueError):
        for number, partial in fields(content):
            if number == 1 and isinstance(partial, bytes):
                for inner, value in fields(partial):
                    if inner == 1 and isinstance(value, int):
                        return value
    return 0
