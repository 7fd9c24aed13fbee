"""Where the collector delivers: OTLP over HTTP on a port of this machine."""

import asyncio
from pathlib import Path

from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from router.up.traces import TraceBook, TraceFile

_PATH = "/v1/traces"
_PROTOBUF = "application/x-protobuf"
_MAX_EXPORT_BYTES = 64 * 1024 * 1024
_MAX_FILE_BYTES = 128 * 1024 * 1024
_REMEMBERED_TRACES = 1000


class TraceReceiver:
    """Takes exports into a book and a file."""

    def __init__(self, file: Path) -> None:
        self.book = TraceBook(_REMEMBERED_TRACES)
        self.file = TraceFile(file, _MAX_FILE_BYTES)
        self._arrival = asyncio.Event()
        self._writing = asyncio.Lock()
        application = web.Application(client_max_size=_MAX_EXPORT_BYTES)
        application.router.add_post(_PATH, self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> str:
        """Listen on a free port; the base address."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def next_arrival(self) -> None:
        """Return when the next export has arrived."""
        self._arrival.clear()
        await self._arrival.wait()

    async def _take(self, request: web.Request) -> web.Response:
        export = ExportTraceServiceRequest()
        try:
            export.ParseFromString(await request.read())
        except DecodeError as error:
            raise web.HTTPBadRequest from error
        self.book.add(export)
        # Off the loop, which also serves requests: the disk may be slow.
        async with self._writing:
            await asyncio.to_thread(self.file.write, export)
        self._arrival.set()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type=_PROTOBUF)
