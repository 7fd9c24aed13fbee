"""Sends metrics to a collector, again and again; what cannot be sent is counted and left."""

import asyncio
import contextlib
from collections.abc import Mapping

import aiohttp

from router import __version__
from router.domain.clock import Clock
from router.telemetry import metric_names as names
from router.telemetry.export import PROTOBUF, Collector
from router.telemetry.merging import merged
from router.telemetry.otlp_metrics import export_request
from router.telemetry.registry import Registry

_PATH = "/v1/metrics"


class MetricPush:
    """Each worker sends its own series. Nothing is queued: the next export tells all anew."""

    def __init__(
        self,
        registry: Registry,
        *,
        collector: Collector,
        interval_s: float,
        resource: Mapping[str, str],
        clock: Clock,
    ) -> None:
        """Send everything that the registry holds every `interval_s` seconds."""
        self._registry = registry
        self._url = collector.url(_PATH)
        self._headers = {"content-type": PROTOBUF, **collector.headers}
        self._timeout_s = collector.timeout_s
        self._interval_s = interval_s
        self._resource = resource
        self._clock = clock
        self._exports = registry.counter(names.EXPORTS)
        self._dropped = registry.counter(names.DROPPED).of("metric_exports")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Send once more what there is, if that is quick, and stop."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(1.0, self._timeout_s)):
                await self.send()

    async def send(self) -> bool:
        """One export; whether the collector took it. Never raises for a collector's faults."""
        body = await asyncio.to_thread(self._body)
        is_taken = False
        try:
            timeout = aiohttp.ClientTimeout(total=self._timeout_s)
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.post(self._url, data=body, headers=self._headers) as answer,
            ):
                is_taken = answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            is_taken = False
        finally:
            self._exports.of("ok" if is_taken else "failed").add()
            if not is_taken:
                self._dropped.add()
        return is_taken

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self.send()

    def _body(self) -> bytes:
        cells = self._registry.cells
        families = merged(self._registry, alone=True)
        return export_request(
            families, self._resource, __version__, cells.start_s, self._clock.wall_s()
        )
