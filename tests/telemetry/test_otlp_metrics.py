"""Metrics by OTLP: a real collector takes them, and one that does not is nobody's trouble."""

import contextlib
import gzip
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import rotel
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from benchmarks.processes import free_port
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import embed
from tests.telemetry.test_metrics_page import PARENT, TRACE, ended, page, value

AGENT = Path(rotel.__file__).parent / "rotel-agent"


class Sink:
    """An OTLP receiver that keeps bodies; `status` is what it answers, after `delay_s`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.delay_s = 200, 0.0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/metrics":
                    sink.bodies.append(body)
                    sink.headers.append({k.lower(): v for k, v in self.headers.items()})
                time.sleep(sink.delay_s)
                self.send_response(sink.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@contextlib.contextmanager
def collector(sink: Sink) -> Iterator[str]:
    """rotel, a real OTLP collector, that hands on to the sink; its address."""
    http, grpc = free_port(), free_port()
    options = [
        "start",
        f"--otlp-http-endpoint=127.0.0.1:{http}",
        f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
        "--exporter=otlp",
        f"--otlp-exporter-endpoint={sink.url}",
        "--otlp-exporter-protocol=http",
        "--metrics-batch-timeout=100ms",
    ]
    process = subprocess.Popen([AGENT, *options], stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(60)


def settings(minilm: Path, endpoint: str, **otlp: Any) -> str:
    section = {
        "otlp": {"endpoint": endpoint, "timeout_s": 0.5} | otlp,
        "metrics": {"export_interval_s": 0.2},
        "service_name": "the-router",
    }
    return f"{fake_settings(minilm)}telemetry: {json.dumps(section)}\n"


def ready(router: RouterUnderTest) -> RouterUnderTest:
    eventually(router.app.is_ready)
    return router


def newest(sink: Sink) -> dict[str, Any]:
    """Each metric as it came last, by name: a collector may cut an export into several."""
    found: dict[str, Any] = {}
    for body in list(sink.bodies):
        request = ExportMetricsServiceRequest.FromString(body)
        for resource in request.resource_metrics:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            found["resource"] = names
            found |= {m.name: m for scope in resource.scope_metrics for m in scope.metrics}
    return found


def test_a_real_collector_takes_what_the_router_sends(minilm: Path, sink: Sink) -> None:
    """Through rotel come counters, gauges and histograms with buckets, bounds and exemplars."""
    with (
        collector(sink) as endpoint,
        RouterUnderTest(settings(minilm, endpoint)) as router,
    ):
        embed(ready(router), headers=PARENT, input="hello")
        told = {"embedway.requests", "embedway.request.duration", "embedway.target.ready"}
        eventually(lambda: told <= newest(sink).keys(), 60)
        found = newest(sink)
    assert found["resource"]["service.name"] == "the-router"
    assert found["resource"]["service.instance.id"]
    requests = found["embedway.requests"].sum
    assert requests.is_monotonic
    assert [point.as_double for point in requests.data_points] == [1.0]
    labels = {one.key: one.value.string_value for one in requests.data_points[0].attributes}
    assert labels == {"route": "plain", "outcome": "ok"}
    (duration,) = found["embedway.request.duration"].histogram.data_points
    assert (duration.count, len(duration.bucket_counts)) == (1, len(duration.explicit_bounds) + 1)
    assert [one.trace_id.hex() for one in duration.exemplars] == [TRACE]
    assert 0 < duration.start_time_unix_nano < duration.time_unix_nano
    assert found["embedway.target.ready"].gauge.data_points


def test_secret_headers_are_sent(minilm: Path, sink: Sink) -> None:
    """What a hosted collector wants to see comes from the environment."""
    text = settings(minilm, sink.url, headers={"authorization": {"env": "TOKEN"}})
    with RouterUnderTest(text, {"TOKEN": "Basic secret"}):
        eventually(lambda: bool(sink.headers))
    assert sink.headers[0]["authorization"] == "Basic secret"


@pytest.mark.parametrize("trouble", ["down", "slow", "failing"])
def test_a_collector_in_trouble_costs_no_request_anything(
    minilm: Path, sink: Sink, trouble: str
) -> None:
    """Requests are answered as ever; what was not delivered is counted."""
    sink.status, sink.delay_s = (503 if trouble == "failing" else 200), 60.0 * (trouble == "slow")
    endpoint = f"http://127.0.0.1:{free_port()}" if trouble == "down" else sink.url
    with RouterUnderTest(settings(minilm, endpoint)) as router:
        ready(router)
        dropped = 'embedway_telemetry_dropped_total{signal="metric_exports"}'
        eventually(lambda: value(page(router), dropped) >= 1)
        begun_s = time.perf_counter()
        for _ in range(20):
            assert embed(router, input="hello").status == 200
        # Half a second each, where they waited for an export.
        assert time.perf_counter() - begun_s < 5.0
        text = ended(router, "ok", 20)
    assert value(text, 'embedway_telemetry_exports_total{outcome="ok"}') == 0
