"""The benchmark's own parts: what measures must be right first."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import orjson
import pytest
import tritonclient.grpc.aio as triton

from benchmarks.cells import CONCURRENCIES, SHAPES, Shape
from benchmarks.load import LoadError, Sample, grpc_load, http_load
from benchmarks.processes import free_port
from benchmarks.report import MANY, ONE, ROUTING_CELL, Results, bars
from benchmarks.stub_http import answers, path_of
from benchmarks.stub_triton import StubTriton
from benchmarks.turns import Figures, Pair, Turn, typical


@pytest.fixture
async def stub() -> AsyncIterator[int]:
    port = free_port()
    server = StubTriton().server(port)
    await server.start()
    yield port
    await server.stop(0)


@pytest.mark.parametrize("count", [1, 3])
async def test_the_stub_answers_a_vector_for_each_length(stub: int, count: int) -> None:
    """An unmodified Triton client reads unit vectors of the model's width."""
    async with triton.InferenceServerClient(f"127.0.0.1:{stub}") as client:
        inputs = []
        for name, size in (("INPUT_IDS", 4 * count), ("LENGTHS", count)):
            tensor = triton.InferInput(name, [1, size], "INT32")
            tensor.set_data_from_numpy(np.full((1, size), 4, np.int32))
            inputs.append(tensor)
        answer = await client.infer("bench_384", inputs)
    vectors = answer.as_numpy("EMBEDDING")
    assert vectors.shape == (1, count, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-5)


class Counting(asyncio.Protocol):
    """Answers every request after counting it; the answer comes in two pieces."""

    def __init__(self, counts: list[int], status: bytes) -> None:
        self._counts = counts
        self._status = status

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._counts[0] += data.count(b"POST /v1")
        self._transport.write(b"HTTP/1.1 %b\r\nContent-Length: 6\r\n\r\nabc" % self._status)
        asyncio.get_running_loop().call_soon(self._transport.write, b"def")


async def counted(status: bytes, seconds: float = 0.2) -> tuple[int, Sample]:
    counts = [0]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Counting(counts, status), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sample = await http_load(port, b"/v1/embeddings", [b"{}"], "key", 3, seconds)
    return counts[0], sample


async def test_the_load_counts_every_request_once() -> None:
    """As many latencies as requests that the server saw."""
    # Time for more than the first answers, though the machine should stand still for a second.
    seen, sample = await counted(b"200 OK", 2.0)
    assert seen == len(sample.latencies_ms) > 3
    assert sample.latencies_ms == sorted(sample.latencies_ms)
    assert sample.rate == pytest.approx(seen / sample.seconds)


async def test_the_load_stops_at_an_answer_that_is_not_200() -> None:
    """A router that refuses is no fast router."""
    with pytest.raises(LoadError, match="503"):
        await counted(b"503 Service Unavailable")


async def test_the_grpc_load_reaches_the_stub(stub: int) -> None:
    """Straight to the target is measured with answered calls."""
    sample = await grpc_load(stub, "bench_2560", 32, 2, 0.1)
    assert len(sample.latencies_ms) >= 2


@pytest.mark.parametrize(("percent", "value"), [(50, 50.0), (99, 99.0), (100, 100.0), (1, 1.0)])
def test_percentiles_are_nearest_ranks(percent: float, value: float) -> None:
    """The p-th percentile of 1 … 100 is p."""
    assert Sample(1.0, [float(i) for i in range(1, 101)]).percentile_ms(percent) == value


def results(router_rate: int, bare_rate: int, latency_ms: float) -> Results:
    """Every cell the same: so many requests in one second, each with one latency."""
    found = Results()
    for shape in SHAPES:
        for concurrency in CONCURRENCIES:
            for name, rate, ms in (
                ("router", router_rate, latency_ms),
                ("target", 9000, 0.2),
                ("pass-through", bare_rate, 0.2),
            ):
                found.samples[name][shape, concurrency].append(Sample(1.0, [ms] * rate, 1.0))
    # The slower the router, the more its targets cost it.
    for name, rate in ((ONE, router_rate), (MANY, router_rate - 50)):
        found.samples[name][ROUTING_CELL].append(Sample(1.0, [latency_ms] * rate, 1.0))
    # The slower the router, the more CPU its traces take.
    turns = Turn(False, 1.0, 100), Turn(True, 1.0 + latency_ms / 25, 100)
    found.traced[16].append(Pair(*turns))
    return found


def test_the_bars_are_those_of_the_router() -> None:
    """A fast router meets all, a slow one misses each by name."""
    assert all(bar.is_met for bar in bars(results(5000, 9000, 0.5)))
    missed = [bar.name for bar in bars(results(100, 9000, 5.0)) if not bar.is_met]
    assert len(missed) == 7
    assert missed[1] == "1x2560 base64, ratio to the bare pass-through"


def test_each_shape_has_an_answer_ready() -> None:
    """The pass-through is measured on the same bytes that the router writes."""
    ready = answers()
    assert set(ready) == {path_of(shape.name) for shape in SHAPES}
    assert len(ready[path_of(Shape(32, 2560, "base64").name)]) > 32 * 2560 * 4 * 4 // 3


def test_turns_are_paired_as_they_followed(tmp_path: Path) -> None:
    """Untraced with the traced one behind it; not the first of a load, and none that was idle."""
    path = tmp_path / "turns"
    figures = Figures(path)
    assert figures.pairs() == []
    rows = [(True, 9.0, 90), (False, 1.0, 100), (True, 1.2, 100), (False, 1.0, 3), (True, 5.0, 50),
            (False, 2.0, 100), (True, 2.2, 100), (False, 7.0, 100)]  # fmt: skip
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    pairs = figures.pairs()
    assert [pair.ratio for pair in pairs] == pytest.approx([1.2, 1.1])
    assert typical(pairs) == pytest.approx((15_000, 17_000, 1.15))
    assert figures.pairs() == []
