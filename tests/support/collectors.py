"""Collectors: a receiver that tests can look into, and a real one (rotel) in front of it."""

import contextlib
import gzip
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from benchmarks.processes import free_port

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT"}


@dataclass(frozen=True)
class Span:
    """A span as a collector saw it; ids in hexadecimal, times in nanoseconds."""

    service: str
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    state: str
    begun_ns: int
    ended_ns: int
    is_error: bool
    flags: int
    attributes: dict[str, Any] = field(hash=False)
    links: tuple[tuple[str, str], ...] = ()


class SpansLostError(AssertionError):
    """Spans of these names did not come in time."""

    def __init__(self, missing: set[str], there: list[tuple[str, str]]) -> None:
        super().__init__(f"{missing} did not come, only {there}")
        self.missing = missing


class Receiver:
    """An OTLP receiver over HTTP that keeps all it gets; `status` and `delay_s` make it ill."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.delay_s = 0.0
        self.answer = b""
        self.answer_headers: dict[str, str] = {}
        self.tries = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.tries += 1
                time.sleep(receiver.delay_s)
                # Once: a test may change it now, and what is answered is what is kept.
                status = receiver.status
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if status == 200 and self.path.endswith("/v1/traces"):
                    receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
                    receiver.bodies.append(body)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in receiver.answer_headers.items():
                        self.send_header(name, value)
                    self.send_header("content-type", "application/x-protobuf")
                    self.send_header("content-length", str(len(receiver.answer)))
                    self.end_headers()
                    self.wfile.write(receiver.answer)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            # Whoever gave up before the answer is no error of ours.
            handle_error = lambda *_: None  # noqa: E731

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def spans(self) -> list[Span]:
        """All spans that came, read by OpenTelemetry's own classes."""
        found: list[Span] = []
        for body in list(self.bodies):
            request = service.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                name = _attributes(resource.resource.attributes).get("service.name", "")
                for scope in resource.scope_spans:
                    found += [_span(name, one) for one in scope.spans]
        return found

    def forget(self) -> None:
        """Begin anew."""
        self.bodies.clear()

    def trace(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans() if span.trace_id == trace_id]

    def wait_for(self, trace_id: str, *names: str, within_s: float = 30.0) -> list[Span]:
        """The trace's spans, once there are some of all these names."""
        deadline_s = time.monotonic() + within_s
        while True:
            spans = self.trace(trace_id)
            missing = set(names) - {span.name for span in spans}
            if spans and not missing:
                return spans
            there = [(span.service, span.name) for span in spans]
            if time.monotonic() >= deadline_s:
                raise SpansLostError(missing, there)
            time.sleep(0.05)


def _span(name: str, span: Any) -> Span:
    return Span(
        service=name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=KINDS.get(span.kind, str(span.kind)),
        state=span.trace_state,
        begun_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        is_error=span.status.code == 2,
        flags=span.flags,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    found = {pair.key: _value(pair.value) for pair in pairs}
    assert len(found) == len(pairs), "an attribute stands twice"
    return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)


@contextlib.contextmanager
def rotel(receiver: Receiver, folder: Path) -> Iterator[str]:
    """A real collector that forwards traces to the receiver; its address."""
    agent = metadata.distribution("rotel").locate_file("rotel/rotel-agent")
    http, grpc = free_port(), free_port()
    settings = {
        "ROTEL_OTLP_HTTP_ENDPOINT": f"127.0.0.1:{http}",
        "ROTEL_OTLP_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
        "ROTEL_PID_FILE": str(folder / "rotel.pid"),
        "ROTEL_LOG_FILE": str(folder / "rotel.log"),
        "ROTEL_EXPORTER": "otlp",
        "ROTEL_OTLP_EXPORTER_ENDPOINT": receiver.url,
        "ROTEL_OTLP_EXPORTER_PROTOCOL": "http",
        "ROTEL_BATCH_TIMEOUT": "100ms",
    }
    with (folder / "rotel.out").open("wb") as out:
        process = subprocess.Popen(
            [str(agent), "start"],
            env={"PATH": os.environ["PATH"], **settings},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_listening(process, http)
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(60)


def _wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    import socket

    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        assert process.poll() is None, "the collector ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the collector does not listen")
