"""`embedway up --observe` as people run it, with a real collector and a real Prometheus."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from benchmarks.processes import free_port
from tests.support.families import living, name_of
from tests.support.parts import program

_PROGRAM = str(Path(sys.executable).with_name("embedway"))
_MODEL = "all-minilm-l6-v2"


@dataclass(frozen=True)
class Observed:
    """A started stack and what it printed."""

    process: subprocess.Popen[str]
    output: str
    folder: Path

    def printed(self, pattern: str) -> str:
        found = re.search(pattern, self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def embed(self, text: str = "seen", traceparent: str | None = None) -> None:
        client = openai.OpenAI(
            base_url=self.printed(r"^URL +(\S+)$"),
            api_key=self.printed(r"^key +(\S+)$"),
            max_retries=0,
        )
        headers = {} if traceparent is None else {"traceparent": traceparent}
        answer = client.embeddings.create(model=_MODEL, input=[text], extra_headers=headers)
        assert len(answer.data[0].embedding) == 384

    def children(self, name: str) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if name_of(child) == name]

    def traces(self) -> list[dict[str, Any]]:
        """Every span in the file of traces, with its service."""
        file = Path(self.printed(r"^traces +(\S+)"))
        lines = file.read_text().splitlines() if file.exists() else []
        return [
            span | {"service": _service(resource)}
            for line in lines
            for resource in json.loads(line)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def services(self, trace: str) -> set[str]:
        """Who told spans of a trace."""
        return {span["service"] for span in self.traces() if span["traceId"] == trace}

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers."""
        address = self.printed(r"^metrics +http://(\S+)$")
        connection = http.client.HTTPConnection(address, timeout=30)
        with contextlib.closing(connection):
            connection.request(
                "GET", "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
            )
            result: list[dict[str, Any]] = json.load(connection.getresponse())["data"]["result"]
        return result


def _service(resource: dict[str, Any]) -> str:
    attributes = resource["resource"]["attributes"]
    return next(
        (one["value"]["stringValue"] for one in attributes if one["key"] == "service.name"), ""
    )


def _until(condition: Callable[[], object], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[Observed]:
    prometheus = program("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("observed")
    environment = {name: value for name, value in os.environ.items() if name != "EMBEDWAY_API_KEY"}
    environment["PATH"] += f":{prometheus.parent}"
    http_port, grpc_port = str(free_port()), str(free_port())
    with (folder / "stderr.log").open("w") as log:
        process = subprocess.Popen(
            [_PROGRAM, "up", "--observe", "--port", http_port, "--grpc-port", grpc_port],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("Serving"):
            break
    assert "Serving" in output, (folder / "stderr.log").read_text()
    stack = Observed(process, output, folder)
    family = psutil.Process(process.pid).children(recursive=True)
    assert {"rotel-agent", "prometheus", "tritonserver"} <= {name_of(one) for one in family}
    yield stack
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()
    assert living(family) == []


def test_prometheus_reads_router_and_triton(observed: Observed) -> None:
    """Prometheus reaches Triton's metrics and the router's, and answers about real requests."""
    observed.embed()
    _until(lambda: observed.query('nv_inference_request_success{job="triton"} > 0'), 60)
    _until(lambda: observed.query('up{job="embedway"} == 1'), 60)
    assert observed.query('{job="embedway", __name__=~"embedway_.*"}')


def test_the_search_is_shown_from_within(observed: Observed) -> None:
    """The trace of the search that was just made is printed, from the router down into Triton."""
    tree = observed.printed(r"^(trace [0-9a-f]{32}\n(?:.+\n)+)")
    assert re.search(r"POST /v1/embeddings +[\d.]+ ms", tree)
    assert "triton" in tree.lower()


def test_a_request_is_explained_by_the_printed_command(observed: Observed) -> None:
    """`embedway trace` as it is printed tells of a request that was just made."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    observed.embed("explained", f"00-{trace}-b7ad6b7169203331-01")
    command = observed.printed(r"^request +embedway (trace ID --config \S+)").split()
    command[1] = trace

    def explained() -> str:
        return subprocess.run(
            [_PROGRAM, *command], capture_output=True, check=False, text=True, timeout=60
        ).stdout

    _until(lambda: "├─ tokenise" in explained(), 60)


def test_one_trace_through_router_and_triton(observed: Observed) -> None:
    """A client's trace holds the router's spans and Triton's, each under its cause."""
    for number in range(3):
        trace = f"5b8efff798038103d269b633813fc6{number:02x}"
        # A text that no other test embeds: what is remembered is not computed by Triton.
        observed.embed(f"from end to end {number}", f"00-{trace}-00f067aa0ba902b7-01")
        # Triton loses the spans of one of its first traced requests now and then (docs/flaws.md),
        # and that of the first search may not have been the one.
        with contextlib.suppress(AssertionError):
            _until(lambda trace=trace: len(observed.services(trace)) == 2, 15)
            break
    assert observed.services(trace) == {"embedway-router", "triton-inference-server"}
    spans = [span for span in observed.traces() if span["traceId"] == trace]
    known = {span["spanId"] for span in spans}
    parents = {span["parentSpanId"] for span in spans}
    assert parents - known == {"00f067aa0ba902b7"}


def test_the_stack_outlives_the_collector(observed: Observed) -> None:
    """Killed -9, the collector is missed by nobody, and comes back at its address."""
    [before] = observed.children("rotel-agent")
    before.kill()
    observed.embed()
    _until(lambda: set(observed.children("rotel-agent")) - {before}, 60)
    observed.embed()
    trace = "0af7651916cd43dd8448eb211c80319c"

    def arrives() -> bool:
        observed.embed("again", f"00-{trace}-00f067aa0ba902b7-01")
        return any(span["traceId"] == trace for span in observed.traces())

    _until(arrives, 45)
    assert "Collector ended unexpectedly" in (observed.folder / "stderr.log").read_text()
