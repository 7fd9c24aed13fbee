"""Keeps the traces of requests: decides which, encodes them once, hands them to queue and shelf.

A request pays for its notes alone. Its spans are encoded after its answer was handed over, together
with those of others that ended a moment before or after: encoding one by one, between other work,
costs half as much again, since nothing of what it needs is in the processor's caches by then.
"""

import asyncio
import random
from collections.abc import Mapping

from router.domain.clock import Clock
from router.domain.journal import Ending, Facts, Journal, Parent
from router.telemetry.context import parent_of
from router.telemetry.export import SpanExporter
from router.telemetry.logs import Log
from router.telemetry.sampling import Sampler
from router.telemetry.shelf import TraceShelf
from router.telemetry.spans import Ended, SpanWriter, TargetFacts

_WRITE_EVERY_S = 1.0
# So many traces are encoded at once, 0.3 ms of work; where fewer come they wait so long at most.
_TOGETHER, _ENCODE_AFTER_S = 32, 0.1
# So that a span's number and those that count on from it stay below 64 bits, and none is zero.
_SPAN_BITS = 63


class Untraced:
    """Keeps nothing but the name of the caller's trace, which the ledger notes."""

    dropped = 0

    def begin(self, traceparent: str | None, tracestate: str | None, begun_s: float) -> Journal:
        """A journal that nobody reads."""
        parent = parent_of(traceparent, tracestate) if traceparent is not None else None
        return Journal("" if parent is None else parent.trace_id, begun_s=begun_s)

    def end(self, journal: Journal, facts: Facts, ending: Ending) -> None:
        """Nothing to do."""

    def declare(self, targets: Mapping[str, TargetFacts]) -> None:
        """Nothing to do."""

    def start(self) -> None:
        """Nothing to do."""

    async def flush(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""


class Tracer:
    """Records the requests of one router; on its event loop."""

    def __init__(
        self,
        sampler: Sampler,
        writer: SpanWriter,
        exporter: SpanExporter | None,
        shelf: TraceShelf | None,
        clock: Clock,
        log: Log,
    ) -> None:
        """No exporter sends nothing, no shelf keeps nothing on this machine."""
        self.sampler = sampler
        self.exporter = exporter
        self._writer = writer
        self._shelf = shelf
        self._clock = clock
        self._log = log
        self._random = random.Random()  # noqa: S311 - names, not secrets
        self._ended: list[Ended] = []
        self._encoding: asyncio.Handle | None = None
        self._shelver: asyncio.Task[None] | None = None
        self._is_writable = True
        self.kept = 0

    @property
    def dropped(self) -> int:
        """Spans that were given up instead of exported."""
        return 0 if self.exporter is None else self.exporter.figures.dropped

    def begin(self, traceparent: str | None, tracestate: str | None, begun_s: float) -> Journal:
        """The journal of a new request, in the trace that its headers name or in one of its own."""
        parent: Parent | None = None
        if traceparent is not None:
            parent = parent_of(traceparent, tracestate)
        bits = self._random.getrandbits
        trace_id = f"{bits(128) or 1:032x}" if parent is None else parent.trace_id
        is_sampled = self.sampler.before(trace_id, parent)
        return Journal(trace_id, bits(_SPAN_BITS) + 1, parent, begun_s, is_sampled=is_sampled)

    def end(self, journal: Journal, facts: Facts, ending: Ending) -> None:
        """Keep the trace if it is worth it."""
        if journal.is_sampled:
            kept: str | None = "chance" if journal.parent is None else "parent"
        else:
            duration_s = ending.ended_s - journal.begun_s
            kept = self.sampler.after(facts, journal.attempts, ending.status, duration_s)
        if kept is None:
            return
        self.kept += 1
        self._ended.append(Ended(journal, facts, ending, kept))
        if len(self._ended) == 1:
            loop = asyncio.get_running_loop()
            self._encoding = loop.call_later(_ENCODE_AFTER_S, self._encode)
        elif len(self._ended) == _TOGETHER:
            self._encode_soon()

    def declare(self, targets: Mapping[str, TargetFacts]) -> None:
        """What there is to say of targets, from now on; those that are gone may still answer."""
        self._writer.declare(targets)

    def start(self) -> None:
        """Export and write from now on; needs a running event loop."""
        if self.exporter is not None:
            self.exporter.start()
        if self._shelf is not None:
            self._shelver = asyncio.get_running_loop().create_task(self._write_again_and_again())

    async def flush(self) -> None:
        """Bring what is kept to the disk, for a reader who asks now."""
        if self._ended:
            self._encode()
        if self._shelf is not None:
            await self._write(self._shelf)

    async def close(self) -> None:
        """Send and write what waits, within the configured time."""
        if self._shelver is not None:
            self._shelver.cancel()
            await asyncio.gather(self._shelver, return_exceptions=True)
        await self.flush()
        if self._shelf is not None:
            self._shelf.close()
        if self.exporter is not None:
            await self.exporter.close()
            figures = self.exporter.figures
            self._log.event(
                "traces",
                kept=self.kept,
                left_out=self.sampler.left_out,
                spans_exported=figures.exported,
                spans_dropped=figures.dropped,
            )

    def _encode_soon(self) -> None:
        """Not at once: whoever ended a request just now may still have its answer to write."""
        if self._encoding is not None:
            self._encoding.cancel()
        self._encoding = asyncio.get_running_loop().call_soon(self._encode)

    def _encode(self) -> None:
        if self._encoding is not None:
            self._encoding.cancel()
        ended, self._ended, self._encoding = self._ended, [], None
        # Of a flood, too, no more are one piece: the queue takes a piece as a whole, or drops it.
        for begun in range(0, len(ended), _TOGETHER):
            self._keep(ended[begun : begun + _TOGETHER])

    def _keep(self, ended: list[Ended]) -> None:
        offset_ns, pieces, total = self._writer.offset_ns(), [], 0
        for one in ended:
            spans, count = self._writer.write(one, offset_ns)
            pieces.append(spans)
            total += count
        together = b"".join(pieces)
        if self.exporter is not None:
            self.exporter.offer(together, total)
        if self._shelf is not None:
            # Views of the same bytes: each request's spans are kept in memory once.
            view, begun = memoryview(together), 0
            for one, spans in zip(ended, pieces, strict=True):
                end = begun + len(spans)
                self._shelf.put(one.ending.request_id, one.journal.trace_id, view[begun:end])
                begun = end

    async def _write_again_and_again(self) -> None:
        assert self._shelf is not None
        while True:
            await asyncio.sleep(_WRITE_EVERY_S)
            await self._write(self._shelf)

    async def _write(self, shelf: TraceShelf) -> None:
        records = shelf.take()
        if not records:
            return
        try:
            await asyncio.to_thread(shelf.write, records)
        except OSError as error:
            # A full disk costs `embedway trace` its memory, and nobody else anything.
            self._report(error.strerror or type(error).__name__)
        else:
            self._report(None)

    def _report(self, reason: str | None) -> None:
        """Say so when the disk goes and when it comes back, not every second."""
        if self._is_writable is (reason is None):
            return
        self._is_writable = reason is None
        self._log.event("trace_shelf", writable=self._is_writable, reason=reason)
