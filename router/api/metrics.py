"""`GET /metrics`: what all workers counted, for Prometheus; it needs no key."""

import asyncio

from router.api.exchange import Exchange, Reply
from router.observation.metrics import Metrics
from router.telemetry.exposition import OPEN_METRICS, TEXT, wants_open_metrics
from router.telemetry.meters import Meters


class MetricsDoor:
    """Tells metrics in the format that is asked for."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @property
    def meters(self) -> Meters:
        """Where doors report to."""
        return self._metrics.meters

    async def metrics(self, exchange: Exchange) -> Reply:
        """OpenMetrics with exemplars where it is asked for, else Prometheus's text."""
        accept = (exchange.header(b"accept") or b"").decode("latin-1")
        is_open = wants_open_metrics(accept)
        self._metrics.look()
        # Putting thousands of lines together takes milliseconds: others shall not wait for it.
        body = await asyncio.to_thread(self._metrics.text, open_metrics=is_open)
        return Reply(200, body, (OPEN_METRICS if is_open else TEXT).encode())
