"""A TCP balancer as Kubernetes is one: new connections go to whoever was ready a moment ago."""

import asyncio
import contextlib
import http.client
import itertools
from collections.abc import Coroutine

_POLL_S = 0.2
_CHUNK = 1 << 16


class Balancer:
    """Spreads connections over the ports whose `/health/ready` said 200, told `delay_s` late."""

    def __init__(self, ports: list[int], delay_s: float) -> None:
        self._ports = ports
        self._delay_s = delay_s
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.endpoints: list[int] = []
        self.port = 0

    async def start(self) -> None:
        """Listen, and follow the readiness of all ports."""
        self._server = await asyncio.start_server(self._splice, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        for port in self._ports:
            self._spawn(self._follow(port))

    async def close(self) -> None:
        """Let go of everything."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_for(self, port: int, *, is_there: bool = True) -> None:
        """Return once connections go to the port, or go there no more."""
        while (port in self.endpoints) is not is_there:  # noqa: ASYNC110 - as one watches endpoints
            await asyncio.sleep(_POLL_S / 2)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, port: int) -> None:
        known = False
        while True:
            ready = await asyncio.to_thread(_is_ready, port)
            if ready is not known:
                known = ready
                self._spawn(self._tell(port, ready))
            await asyncio.sleep(_POLL_S)

    async def _tell(self, port: int, ready: bool) -> None:
        await asyncio.sleep(self._delay_s)
        if ready and port not in self.endpoints:
            self.endpoints.append(port)
        elif not ready and port in self.endpoints:
            self.endpoints.remove(port)

    async def _splice(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            if not self.endpoints:
                return
            port = self.endpoints[next(self._numbers) % len(self.endpoints)]
            with contextlib.suppress(OSError):
                behind, ahead = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.closing(ahead):
                    ways = [
                        asyncio.create_task(_carry(reader, ahead)),
                        asyncio.create_task(_carry(behind, writer)),
                    ]
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()


def _is_ready(port: int) -> bool:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as one:
        try:
            one.request("GET", "/health/ready")
            return one.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
