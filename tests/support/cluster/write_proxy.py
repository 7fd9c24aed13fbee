"""A plain HTTP door to the API server that counts an operator's writes, and may act after one."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
# Renewed with time and not with work, or said beside the work: they are not steps of it.
_ASIDE = ("/leases", "/events", "/selfsubject", "/tokenreviews", "/subjectaccess")
_HOP = {"host", "connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class WriteProxy:
    """Passes everything on.

    After each write landed, and before its answer is passed back, `after_write(n)` is called with
    the number of writes so far, on the proxy's thread.
    """

    url: str
    authority: Path
    after_write: Callable[[int], None] = lambda _: None
    writes: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Serve on a free port of 127.0.0.1."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._ready = threading.Event()
        self._thread.start()
        assert self._ready.wait(60), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        context = ssl.create_default_context(cafile=str(self.authority))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as self._session:
            application = web.Application(client_max_size=16 << 20)
            application.router.add_route("*", "/{path:.*}", self._pass)
            # A watch has no end: requests still under way at the end are cancelled.
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port: int = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        # aiohttp does not wait for TLS to be closed; the loop must live until it is.
        await asyncio.sleep(0.3)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _HOP
        }
        async with self._session.request(
            request.method,
            self.url + request.raw_path,
            headers=headers,
            data=await request.read(),
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    response.headers.add(name, value)
            if _is_step(request) and answer.status < 300:
                self.writes.append(f"{request.method} {request.path}")
                self.after_write(len(self.writes))
            # The operator may be dead by now.
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            return response


def _is_step(request: web.Request) -> bool:
    return request.method in _WRITES and not any(part in request.path for part in _ASIDE)
