"""Closed-loop load: as many requests under way as asked, each followed by the next at once."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import grpc
from tritonclient.grpc import service_pb2 as messages

from benchmarks.stub_triton import OPTIONS


@dataclass(frozen=True, slots=True)
class Sample:
    """What one stretch of load gave. Latencies in milliseconds, sorted."""

    seconds: float
    latencies_ms: list[float]
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies_ms) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The latency that `percent` of the requests stayed within (nearest rank)."""
        rank = max(1, -(-len(self.latencies_ms) * percent // 100))
        return self.latencies_ms[int(rank) - 1]


class LoadError(Exception):
    """An answer was not 200; its beginning is the message."""


class _Connection(asyncio.Protocol):
    """Sends one request after another on one connection; parses no more than it must."""

    def __init__(
        self, requests: Iterator[bytes], until_s: float, done: asyncio.Future[list[float]]
    ) -> None:
        self._requests = requests
        self._until_s = until_s
        self._done = done
        self._latencies_ms: list[float] = []
        self._head = b""
        self._missing: int | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, though they do all of it.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._missing is None:
            self._begin(data)
        else:
            self._missing -= len(data)
            if self._is_refused:
                self._head += data
        if self._missing is None or self._missing > 0:
            return
        if self._is_refused or self._missing < 0:
            self._fail(LoadError(_readable(self._head)))
        else:
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or LoadError("the connection was closed"))

    def _begin(self, data: bytes) -> None:
        self._head += data
        head, blank, body = self._head.partition(b"\r\n\r\n")
        if not blank:
            return
        self._is_refused = not head.startswith(b"HTTP/1.1 200")
        _, named, length = head.lower().partition(b"content-length:")
        if named:
            self._missing = int(length.partition(b"\r\n")[0]) - len(body)
        else:
            self._fail(LoadError(f"an answer without its length: {_readable(self._head)}"))

    def _send(self) -> None:
        self._head, self._missing = b"", None
        self._sent_s = time.perf_counter()
        self._transport.write(next(self._requests))

    def _answered(self) -> None:
        now_s = time.perf_counter()
        self._latencies_ms.append((now_s - self._sent_s) * 1000)
        if now_s < self._until_s:
            self._send()
        elif not self._done.done():
            self._done.set_result(self._latencies_ms)
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)
            self._transport.abort()


def _readable(answer: bytes) -> str:
    return answer[:2000].decode("utf-8", "replace")


async def http_load(
    port: int, path: bytes, bodies: list[bytes], key: str, concurrency: int, seconds: float
) -> Sample:
    """Load on 127.0.0.1:port for `seconds`; LoadError at the first answer that is not 200."""
    head = b"POST %b HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer %b\r\n" % (path, key.encode())
    head += b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    requests = itertools.cycle([head % len(body) + body for body in bodies])
    loop = asyncio.get_running_loop()
    begun_s = time.perf_counter()
    done = [loop.create_future() for _ in range(concurrency)]
    for future in done:
        await loop.create_connection(
            lambda future=future: _Connection(requests, begun_s + seconds, future),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
    async with asyncio.timeout(seconds + 30):
        parts = await asyncio.gather(*done)
    return Sample(time.perf_counter() - begun_s, sorted(itertools.chain(*parts)))


async def grpc_load(port: int, model: str, texts: int, concurrency: int, seconds: float) -> Sample:
    """The same load straight on a Triton target: packed ids in, vectors out."""
    request = messages.ModelInferRequest(model_name=model)
    for name, count in (("INPUT_IDS", 12 * texts), ("LENGTHS", texts)):
        request.inputs.add(name=name, datatype="INT32", shape=(1, count))
        request.raw_input_contents.append(b"\1\0\0\0" * count)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        begun_s = time.perf_counter()

        async def work() -> list[float]:
            latencies_ms = []
            while (sent_s := time.perf_counter()) < begun_s + seconds:
                await infer(request, timeout=30)
                latencies_ms.append((time.perf_counter() - sent_s) * 1000)
            return latencies_ms

        parts = await asyncio.gather(*(work() for _ in range(concurrency)))
        return Sample(time.perf_counter() - begun_s, sorted(itertools.chain(*parts)))
