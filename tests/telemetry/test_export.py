"""Collectors that are there, down, slow, full or strict; and what becomes of the spans."""

import asyncio
import io
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

from benchmarks.processes import free_port
from router.domain.clock import SystemClock
from router.telemetry import export, otlp
from router.telemetry.export import Collector, SpanExporter
from router.telemetry.logs import Log
from tests.support.collectors import Receiver
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import fake_settings
from tests.support.wire import embed
from tests.telemetry.test_metrics_page import page

TRACE = bytes(range(1, 17))
SPANS = otlp.Spans(TRACE, 0)
SPANS.add(1, 0, 1.0, 2.0, otlp.span_constants("s" * 1000, otlp.SERVER))
SPAN = SPANS.together()
QUEUE = 1024 * 1024


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are short, so that tests need not be long."""
    monkeypatch.setattr(export, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(export, "_MOST_WAIT_S", 0.05)


class Exporting:
    """An exporter with its log."""

    def __init__(self, url: str, timeout_s: float = 5.0, flush_timeout_s: float = 5.0) -> None:
        clock, self.stream = SystemClock(), io.BytesIO()
        self.exporter = SpanExporter(
            Collector(url, {"authorization": "Basic planted-secret"}, timeout_s),
            otlp.Envelope({"service.name": "test"}, "scope", "1"),
            clock,
            Log(clock, self.stream),
            queue_bytes=QUEUE,
            interval_s=0.02,
            flush_timeout_s=flush_timeout_s,
        )

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def accounted(self) -> int:
        figures = self.exporter.figures
        return figures.exported + figures.dropped


@pytest.fixture
async def exporting(receiver: Receiver) -> AsyncIterator[Exporting]:
    running = Exporting(receiver.url)
    running.exporter.start()
    yield running
    await running.exporter.close()


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_spans_arrive_as_protobuf_with_the_headers(
    receiver: Receiver, exporting: Exporting
) -> None:
    """A batch is one export of all its spans, with the configured headers."""
    for _ in range(5):
        exporting.exporter.offer(SPAN, 1)
    await until(lambda: exporting.exporter.figures.exported == 5)
    assert len(receiver.spans()) == 5
    assert receiver.headers[0]["authorization"] == "Basic planted-secret"
    assert receiver.headers[0]["content-type"] == "application/x-protobuf"
    assert exporting.exporter.waiting_bytes == 0


async def test_a_collector_that_is_full_is_asked_again(
    receiver: Receiver, exporting: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 503 the same spans are sent again, and the log says once when it went and came."""
    monkeypatch.setattr(export, "_MOST_TRIES", 10_000)
    receiver.status, receiver.answer_headers = 503, {"retry-after": "0"}
    exporting.exporter.offer(SPAN, 1)
    await until(lambda: receiver.tries >= 3)
    receiver.status = 200
    await until(lambda: exporting.exporter.figures.exported == 1)
    assert len(receiver.spans()) == 1
    assert [(line["event"], line["reachable"]) for line in exporting.lines] == [
        ("export", False),
        ("export", True),
    ]


async def test_a_collector_that_stays_full_costs_bounded_memory(
    receiver: Receiver, exporting: Exporting
) -> None:
    """What does not fit the queue is dropped and counted, at once and without a word of waiting."""
    receiver.status = 503
    most, begun_s = 0, time.perf_counter()
    for _ in range(20_000):
        exporting.exporter.offer(SPAN, 1)
        most = max(most, exporting.exporter.waiting_bytes)
    # A twentieth of a second where the machine does not stand still, and minutes where each waits.
    assert time.perf_counter() - begun_s < 10.0
    assert most <= QUEUE
    figures = exporting.exporter.figures
    assert figures.dropped_full >= 20_000 - QUEUE // len(SPAN) - 1
    await exporting.exporter.close()
    assert exporting.accounted == 20_000
    assert figures.exported == 0


async def test_a_batch_is_given_up_after_some_tries(
    receiver: Receiver, exporting: Exporting
) -> None:
    """A collector that answers 503 for ever does not hold one batch for ever."""
    receiver.status = 503
    exporting.exporter.offer(SPAN, 3)
    await until(lambda: exporting.exporter.figures.dropped_refused == 3)
    assert receiver.tries == export._MOST_TRIES


async def test_what_a_collector_refuses_is_not_sent_again(
    receiver: Receiver, exporting: Exporting
) -> None:
    """400 and a redirect end the batch: another try would end the same way."""
    for number, status in enumerate((400, 307), 1):
        receiver.status = status
        exporting.exporter.offer(SPAN, 2)
        await until(lambda number=number: exporting.exporter.figures.dropped_refused == 2 * number)  # type: ignore[misc]
    await asyncio.sleep(0.3)
    assert receiver.tries == 2
    assert exporting.exporter.figures.dropped_refused == 4


async def test_spans_that_were_refused_singly_are_counted(
    receiver: Receiver, exporting: Exporting
) -> None:
    """A partial success says how many spans were not taken."""
    answer = service.ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    receiver.answer = answer.SerializeToString()
    exporting.exporter.offer(SPAN, 5)
    await until(lambda: exporting.exporter.figures.exported == 3)
    assert exporting.exporter.figures.dropped_refused == 2


async def test_a_collector_that_is_down_is_found_when_it_comes(receiver: Receiver) -> None:
    """Spans wait while nobody listens, and are sent once somebody does."""
    down = Exporting(f"http://127.0.0.1:{free_port()}")
    down.exporter.start()
    down.exporter.offer(SPAN, 1)
    await until(lambda: any(line.get("reachable") is False for line in down.lines))
    down.exporter._collector = Collector(receiver.url, {}, 5.0)
    await until(lambda: down.exporter.figures.exported == 1)
    await down.exporter.close()
    assert "planted-secret" not in down.stream.getvalue().decode()


@pytest.mark.parametrize("state", ["slow", "down"])
async def test_a_stop_takes_no_longer_than_its_bound(receiver: Receiver, state: str) -> None:
    """Whatever the collector does, closing ends in time and counts what was not sent."""
    receiver.delay_s = 30.0
    url = receiver.url if state == "slow" else f"http://127.0.0.1:{free_port()}"
    hanging = Exporting(url, timeout_s=60.0, flush_timeout_s=0.3)
    hanging.exporter.start()
    for _ in range(500):
        hanging.exporter.offer(SPAN, 1)
    await asyncio.sleep(0.1)
    begun_s = time.perf_counter()
    await hanging.exporter.close()
    # Its bound, and what a machine that stands still for a moment may add; not what it waits for.
    assert time.perf_counter() - begun_s < 10.0
    assert hanging.accounted == 500
    assert hanging.exporter.waiting_bytes == 0


async def test_a_stop_sends_what_waits(receiver: Receiver) -> None:
    """A collector that is well gets the last spans too."""
    last = Exporting(receiver.url)
    last.exporter._interval_s = 60.0
    last.exporter.start()
    await asyncio.sleep(0.05)
    last.exporter.offer(SPAN, 1)
    await last.exporter.close()
    assert last.exporter.figures.exported == len(receiver.spans()) == 1


def _traced(minilm: Path, url: str | None) -> str:
    settings = yaml.safe_load(fake_settings(minilm, log_requests=False))
    traces = {"sample_ratio": 1.0, "interval_s": 0.05, "queue_bytes": QUEUE, "flush_timeout_s": 0.2}
    otlp_settings = {} if url is None else {"otlp": {"endpoint": url, "timeout_s": 30}}
    return yaml.safe_dump(settings | {"telemetry": {"traces": traces} | otlp_settings})


def _latency_s(router: RouterUnderTest) -> float:
    begun_s = time.perf_counter()
    assert embed(router, input="a short text").status == 200
    return time.perf_counter() - begun_s


def _are_alike(without: RouterUnderTest, beside: RouterUnderTest) -> bool:
    """Whether both take as long, in one of some rounds.

    Whoever waits for a collector does so in every round; a busy machine is busy in some.
    """
    found = []
    while len(found) < 3 or (not any(found) and len(found) < 10):
        pairs = [(_latency_s(without), _latency_s(beside)) for _ in range(50)]
        alone_s, beside_s = (statistics.median(times) for times in zip(*pairs, strict=True))
        found.append(beside_s < 1.3 * alone_s + 0.0005)
    return any(found)


@pytest.mark.parametrize("state", ["down", "slow", "full"])
def test_an_ill_collector_changes_no_latency(minilm: Path, receiver: Receiver, state: str) -> None:
    """Requests are as fast beside a collector that is down, hangs or answers 503 as without one."""
    receiver.delay_s = 20.0 if state == "slow" else 0.0
    receiver.status = 503
    url = f"http://127.0.0.1:{free_port()}" if state == "down" else receiver.url
    with (
        RouterUnderTest(_traced(minilm, None)) as without,
        RouterUnderTest(_traced(minilm, url)) as beside,
    ):
        for router in (without, beside) * 10:
            _latency_s(router)
        are_alike = _are_alike(without, beside)
        exporter = beside.tracer.exporter
        assert exporter is not None
        assert exporter.figures.exported == 0
        assert exporter.waiting_bytes > 0 or exporter.figures.dropped > 0
        assert beside.tracer.kept >= 150
        assert 'embedway_telemetry_dropped_total{signal="traces"}' in page(beside)
    assert are_alike
    lost = exporter.figures.dropped
    assert lost > 0
