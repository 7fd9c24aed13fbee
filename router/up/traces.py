"""Spans as the collector hands them on: kept by trace, written to a file, shown as a tree."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2
from rich.markup import escape
from rich.tree import Tree

_SERVICE = "service.name"
# Protobuf's JSON writes bytes in base64; OTLP's wants ids in hexadecimal.
_IDS = ("traceId", "spanId", "parentSpanId")


@dataclass(frozen=True, slots=True)
class Span:
    """What is shown of a span; ids are bytes, `parent` empty at a root, times nanoseconds."""

    trace: bytes
    id: bytes
    parent: bytes
    name: str
    service: str
    is_server: bool
    began_ns: int
    ended_ns: int
    is_error: bool
    links: int


class TraceBook:
    """The newest traces, each with the spans that have arrived of it so far."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many traces are remembered."""
        self._limit = limit
        self._traces: OrderedDict[bytes, dict[bytes, Span]] = OrderedDict()

    def add(self, export: ExportTraceServiceRequest) -> None:
        """Remember the spans of one export; a span that comes twice counts once."""
        for span in spans_of(export):
            self._traces.setdefault(span.trace, {})[span.id] = span
        while len(self._traces) > self._limit:
            self._traces.popitem(last=False)

    def spans(self, trace: bytes) -> list[Span]:
        """Those of one trace by their beginning; none where it is not remembered."""
        return sorted(self._traces.get(trace, {}).values(), key=lambda span: span.began_ns)

    def newest(self) -> bytes | None:
        """The id of the trace of the newest request, of those that most services told of.

        Triton loses the spans of one of its first requests now and then.
        """
        found, most = None, 0
        for trace in reversed(self._traces):
            spans = self._traces[trace].values()
            services = len({span.service for span in spans})
            if services > most and any(span.is_server and not span.parent for span in spans):
                found, most = trace, services
        return found


def spans_of(export: ExportTraceServiceRequest) -> Iterator[Span]:
    """Every span of an export."""
    for resource in export.resource_spans:
        attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    trace=span.trace_id,
                    id=span.span_id,
                    parent=span.parent_span_id,
                    name=span.name,
                    service=attributes.get(_SERVICE, ""),
                    is_server=span.kind == trace_pb2.Span.SPAN_KIND_SERVER,
                    began_ns=span.start_time_unix_nano,
                    ended_ns=span.end_time_unix_nano,
                    is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                    links=len(span.links),
                )


class TraceFile:
    """OTLP in JSON, one export a line, as collectors write and read it; bounded by two files."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """A full file is kept as `*.1` until the next one is full."""
        self.path = path
        self._max_bytes = max_bytes

    def write(self, export: ExportTraceServiceRequest) -> None:
        """Append one line."""
        if self.path.exists() and self.path.stat().st_size >= self._max_bytes:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        with self.path.open("ab") as file:
            file.write(as_json(export) + b"\n")


def as_json(export: ExportTraceServiceRequest) -> bytes:
    """The export in OTLP's own JSON."""
    document = MessageToDict(export, use_integers_for_enums=True)
    binary = list(spans_with_ids(export))
    for written, message in zip(_written_spans(document), binary, strict=True):
        _put_ids(written, message)
    return orjson.dumps(document)


def spans_with_ids(export: ExportTraceServiceRequest) -> Iterator[trace_pb2.Span]:
    """The spans as messages, in their order."""
    for resource in export.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def _written_spans(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in document.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())


def _put_ids(written: dict[str, Any], message: trace_pb2.Span) -> None:
    ids = (message.trace_id, message.span_id, message.parent_span_id)
    written.update({name: one.hex() for name, one in zip(_IDS, ids, strict=True) if one})
    for link, linked in zip(written.get("links", ()), message.links, strict=True):
        link.update({"traceId": linked.trace_id.hex(), "spanId": linked.span_id.hex()})


def as_tree(spans: list[Span]) -> Tree:
    """A trace for people: each span under the one that caused it, with its share of the time."""
    known = {span.id for span in spans}
    began_ns = min(span.began_ns for span in spans)
    root = Tree(f"trace {spans[0].trace.hex()}")

    def grow(branch: Tree, parents: set[bytes]) -> None:
        for span in spans:
            if span.parent in parents:
                grow(branch.add(_line(span, began_ns)), {span.id})

    strangers = {span.parent for span in spans if span.parent not in known}
    grow(root, strangers)
    return root


def _line(span: Span, began_ns: int) -> str:
    took_ms = (span.ended_ns - span.began_ns) / 1e6
    after_ms = (span.began_ns - began_ns) / 1e6
    line = f"{escape(span.name)}  {took_ms:.2f} ms  [dim]after {after_ms:.2f} ms"
    if span.service:
        line += f", {escape(span.service)}"
    if span.links:
        line += f", {span.links} links"
    return line + ("[/dim] [red]failed[/red]" if span.is_error else "[/dim]")
