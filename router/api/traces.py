"""`GET /admin/v1/traces/{id}`: where the time and the money of one request went."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson

from router.administration.traces import TraceAdministration
from router.api.exchange import Exchange, Reply


class TraceDoor:
    """For administrators: a trace names tenants and targets."""

    def __init__(self, traces: TraceAdministration, flush: Callable[[], Awaitable[None]]) -> None:
        """`flush` brings what this process still holds to where it is looked for."""
        self._traces = traces
        self._flush = flush

    async def trace(self, exchange: Exchange, trace: str) -> Reply:
        """One request by its id or its trace's; UnknownRecordError."""
        del exchange
        await self._flush()
        return Reply(200, orjson.dumps(await asyncio.to_thread(self._traces.trace, trace)))
