"""Spans from the collector: kept, written, shown."""

import io
import json
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2
from rich.console import Console

from router.up.traces import TraceBook, TraceFile, as_json, as_tree

_SERVER = trace_pb2.Span.SPAN_KIND_SERVER
_CLIENT = trace_pb2.Span.SPAN_KIND_CLIENT


def _export(*spans: trace_pb2.Span, service: str = "embedway-router") -> ExportTraceServiceRequest:
    export = ExportTraceServiceRequest()
    resource = export.resource_spans.add()
    attribute = resource.resource.attributes.add()
    attribute.key, attribute.value.string_value = "service.name", service
    resource.scope_spans.add().spans.extend(spans)
    return export


def _span(
    name: str, number: int, parent: int = 0, kind: int = _SERVER, trace: int = 1
) -> trace_pb2.Span:
    return trace_pb2.Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        kind=kind,
        start_time_unix_nano=1_000_000_000 + number * 1_000_000,
        end_time_unix_nano=1_000_000_000 + number * 1_000_000 + 2_500_000,
    )


def _shown(spans: list) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120, no_color=True).print(as_tree(spans))
    return stream.getvalue()


def test_the_tree_follows_causes() -> None:
    """A span stands under its parent, though the parent came later and from another program."""
    book = TraceBook(10)
    book.add(_export(_span("compute", 3, parent=2), service="triton"))
    book.add(_export(_span("POST /v1/embeddings", 1), _span("embeddings m", 2, 1, _CLIENT)))
    lines = _shown(book.spans((1).to_bytes(16, "big"))).splitlines()
    assert [line.lstrip("└─ │├").split("  ")[0] for line in lines[1:]] == [
        "POST /v1/embeddings",
        "embeddings m",
        "compute",
    ]
    indents = [len(line) - len(line.lstrip("└─ │├")) for line in lines[1:]]
    assert indents == sorted(set(indents))
    assert "2.50 ms" in lines[1]
    assert "after 2.00 ms, triton" in lines[3]


def test_a_failure_is_marked() -> None:
    """A span whose status is an error says so, and its neighbour does not."""
    failed = _span("embeddings down", 2, 1, _CLIENT)
    failed.status.code = trace_pb2.Status.STATUS_CODE_ERROR
    book = TraceBook(10)
    book.add(_export(_span("POST /v1/embeddings", 1), failed))
    _, root, child = _shown(book.spans((1).to_bytes(16, "big"))).splitlines()
    assert child.endswith("failed")
    assert not root.endswith("failed")


def test_brackets_in_a_name_are_text() -> None:
    """A span's name is shown as it is, whatever its brackets look like to a terminal."""
    book = TraceBook(10)
    book.add(_export(_span("[red]name[/red]", 1)))
    assert "[red]name[/red]" in _shown(book.spans((1).to_bytes(16, "big")))


def test_the_newest_is_a_request() -> None:
    """The newest trace is the newest that a service answered, not a lone client span."""
    book = TraceBook(10)
    assert book.newest() is None
    book.add(_export(_span("POST", 1, trace=1), _span("POST", 2, trace=2)))
    book.add(_export(_span("health", 3, kind=_CLIENT, trace=3)))
    assert book.newest() == (2).to_bytes(16, "big")


def test_a_trace_that_more_services_told_of_goes_first() -> None:
    """Where Triton lost the newest request's spans, one that shows Triton is taken."""
    book = TraceBook(10)
    book.add(_export(_span("POST", 1, trace=1), _span("POST", 2, trace=2)))
    book.add(_export(_span("InferRequest", 3, 1, trace=1), service="triton"))
    assert book.newest() == (1).to_bytes(16, "big")


def test_the_book_is_bounded() -> None:
    """The oldest trace is forgotten when there are more than the limit."""
    book = TraceBook(2)
    for trace in (1, 2, 3):
        book.add(_export(_span("POST", trace, trace=trace)))
    assert book.spans((1).to_bytes(16, "big")) == []
    assert len(book.spans((3).to_bytes(16, "big"))) == 1


def test_a_span_twice_is_one() -> None:
    """A span that the collector sends again is shown once."""
    book = TraceBook(2)
    book.add(_export(_span("POST", 1)))
    book.add(_export(_span("POST", 1)))
    assert len(book.spans((1).to_bytes(16, "big"))) == 1


def test_the_json_is_otlp() -> None:
    """Ids are hexadecimal and enums are numbers, as OTLP's JSON has them."""
    span = _span("embeddings m", 2, parent=1, kind=_CLIENT)
    span.links.add(trace_id=b"\x0a" * 16, span_id=b"\x0b" * 8)
    [resource] = json.loads(as_json(_export(_span("POST", 1), span)))["resourceSpans"]
    root, child = resource["scopeSpans"][0]["spans"]
    assert root["traceId"] == "0" * 31 + "1"
    assert "parentSpanId" not in root
    assert (child["spanId"], child["parentSpanId"]) == ("0" * 15 + "2", "0" * 15 + "1")
    assert child["links"] == [{"traceId": "0a" * 16, "spanId": "0b" * 8}]
    assert child["kind"] == _CLIENT


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """A full file is kept once under another name, and no more than that."""
    file = TraceFile(tmp_path / "traces.jsonl", max_bytes=500)
    for number in range(1, 12):
        file.write(_export(_span("POST", number)))
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["traces.jsonl", "traces.jsonl.1"]
    assert all(path.stat().st_size < 1000 for path in tmp_path.iterdir())
    texts = [path.read_text() for path in tmp_path.iterdir()]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    newest = max(one["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] for one in lines)
    assert newest == f"{11:016x}"
