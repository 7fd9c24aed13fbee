"""`embedway up --observe`: a collector and, where it is installed, a Prometheus beside the stack.

Whatever becomes of them, the stack goes on: they are started again, and otherwise missed.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from router.up.assets import Assets
from router.up.collector import (
    collector_environment,
    collector_program,
    find_prometheus,
    prometheus_program,
)
from router.up.companion import Companion
from router.up.free_ports import free_tcp_ports
from router.up.progress import Stages
from router.up.router_config import CONFIG_NAME
from router.up.trace_receiver import TraceReceiver
from router.up.traces import as_tree

_START_TIMEOUT_S = 10.0
# The router exports every few seconds and the collector batches; longer, and nothing is coming.
_TRACE_TIMEOUT_S = 8.0
# Spans of one trace come from two programs, each with a rhythm of its own.
_REST_TIMEOUT_S = 2.5


class Observation:
    """The parts beside the stack; each is entered in `ends` once there is something to end."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        stages: Stages,
        ends: contextlib.AsyncExitStack,
        hurry: asyncio.Event,
    ) -> None:
        """`folder` is a LivingFolder's."""
        self._folder = folder
        self._environment = environment
        self._stages = stages
        self._ends = ends
        self._hurry = hurry
        self._receiver = TraceReceiver(folder / "traces.jsonl")
        self._ports = free_tcp_ports(2)
        self._prometheus_url: str | None = None

    @property
    def otlp_url(self) -> str:
        """Base address that takes OTLP over HTTP; the same after a restart of the collector."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def trace_url(self) -> str:
        """Where traces are exported to, in full."""
        return f"{self.otlp_url}/v1/traces"

    async def start_collector(self, wheel: Path) -> None:
        """Start it; `wheel` is where its wheel was unpacked."""
        book_url = await self._receiver.start()
        self._ends.push_async_callback(self._receiver.close)
        program = collector_program(wheel, *self._ports)
        environment = collector_environment(self._environment, self._folder, self._ports, book_url)
        collector = Companion(program, self._folder, environment, self._stages)
        self._ends.push_async_callback(collector.stop, self._hurry)
        await collector.start(_START_TIMEOUT_S)

    async def start_prometheus(self, assets: Assets, scraped: Mapping[str, str]) -> None:
        """Start it where it is installed; `scraped` is an address (host:port) by job."""
        found = find_prometheus(self._environment)
        if found is None:
            return
        [port] = free_tcp_ports(1)
        program = prometheus_program(found, self._folder, port, scraped, assets.rules)
        prometheus = Companion(program, self._folder, self._environment, self._stages)
        self._ends.push_async_callback(prometheus.stop, self._hurry)
        if await prometheus.start(_START_TIMEOUT_S):
            self._prometheus_url = f"http://127.0.0.1:{port}"

    def directions(self, router_metrics_url: str, triton_metrics_url: str) -> str:
        """Where to look, for people."""
        trace_command = f"embedway trace ID --config {self._folder / CONFIG_NAME}"
        metrics = self._prometheus_url or "Prometheus is not installed; as text at the addresses"
        return (
            f"\ntraces   {self._receiver.file.path} (OTLP in JSON, an export a line)\n"
            f"metrics  {metrics}\n"
            f"         {router_metrics_url}\n"
            f"         {triton_metrics_url}\n"
            f"OTLP     {self.otlp_url} (programs of yours may send spans there)\n"
            f"request  {trace_command} (ID: the x-request-id of an answer)\n"
        )

    async def newest_trace(self) -> str:
        """The newest request's trace as a tree, once it is there; empty where none arrives."""
        await self._arrivals(_TRACE_TIMEOUT_S, until_one=True)
        await self._arrivals(_REST_TIMEOUT_S, until_one=False)
        book = self._receiver.book
        trace = book.newest()
        if trace is None:
            return ""
        console = Console()
        with console.capture() as capture:
            console.print(as_tree(book.spans(trace)))
        return capture.get()

    async def _arrivals(self, timeout_s: float, *, until_one: bool) -> None:
        """Let spans arrive, until there is the trace of a request if that is enough."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (until_one and self._receiver.book.newest()):
                    await self._receiver.next_arrival()
