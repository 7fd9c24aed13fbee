"""Several workers on the same ports, started again when they die, stopped together."""

import asyncio
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from router.api.servers import bound
from router.config.load import load_settings
from router.config.settings import Server
from router.domain.clock import Clock
from router.domain.serving import WorkerPlace
from router.reloading.board import report_path
from router.telemetry.logs import Log
from router.workers.serve import place_text

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
# A worker that lived this long was no failed start: its successor need not wait long.
_STEADY_S = 60.0
# What a worker may take beside its drain: books to close, connections to end.
_CLOSING_S = 15.0


async def supervise(config: Path, clock: Clock) -> int:
    """Run the workers of a configuration until SIGTERM or SIGINT; the exit status.

    ConfigurationError where the file is bad or a port is taken.
    """
    server = (await asyncio.to_thread(load_settings, config)).server
    with (
        tempfile.TemporaryDirectory(prefix="embedway-workers-") as folder,
        contextlib.ExitStack() as held,
    ):
        http_port = _reserved(held, server.host, server.port)
        grpc_port = server.grpc_port
        if grpc_port is not None:
            grpc_port = _reserved(held, server.host, grpc_port)
        places = [
            WorkerPlace(index, server.workers, Path(folder), http_port, grpc_port)
            for index in range(server.workers)
        ]
        return await Supervisor(config, server, places, clock, Log(clock)).run()


class Supervisor:
    """The process that serves nothing itself."""

    def __init__(
        self, config: Path, server: Server, places: list[WorkerPlace], clock: Clock, log: Log
    ) -> None:
        """The places differ in their index."""
        self._config = config
        self._longest_s = server.drain_delay_s + server.drain_timeout_s + _CLOSING_S
        self._places = places
        self._clock = clock
        self._log = log
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopped = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Start the workers, and stay until they have ended; 1 where one could never serve."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._tell, signal.SIGHUP)
        tending = [asyncio.create_task(self._tend(place)) for place in self._places]
        await self._stopped.wait()
        _, late = await asyncio.wait(tending, timeout=self._longest_s)
        if late:
            self._tell(signal.SIGKILL)
        await asyncio.gather(*tending)
        return self._status

    def _stop(self, number: signal.Signals) -> None:
        self._stopped.set()
        self._tell(number)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _tend(self, place: WorkerPlace) -> None:
        pause_s, has_served = _FIRST_PAUSE_S, False
        while not self._stopped.is_set():
            begun_s = self._clock.monotonic_s()
            status = await self._one_life(place)
            report = report_path(place.folder, place.index)
            has_served = has_served or report.exists()
            report.unlink(missing_ok=True)
            if self._stopped.is_set():
                return
            if not has_served:
                # It never could: what is wrong is no accident, and its own words have said it.
                self._status = 1
                self._stop(signal.SIGTERM)
                return
            if self._clock.monotonic_s() - begun_s > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            self._log.event("worker_ended", worker=place.index, status=status, pause_s=pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopped.wait()
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    async def _one_life(self, place: WorkerPlace) -> int | None:
        """Start a worker and wait for its end; its status, negative where a signal ended it.

        None where it could not be started: there may be memory for it, or a process, a moment
        later, and nobody else would try.
        """
        try:
            process = await self._start(place)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._log.event("worker_not_started", worker=place.index, reason=reason)
            return None
        self._running[place.index] = process
        try:
            return await process.wait()
        finally:
            del self._running[place.index]

    async def _start(self, place: WorkerPlace) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "router.cli",
            "serve",
            "--config",
            str(self._config),
            "--worker",
            place_text(place),
            # A pipe that nobody writes to: it closes with this process, however that ends.
            stdin=asyncio.subprocess.PIPE,
        )


def _reserved(held: contextlib.ExitStack, host: str, port: int) -> int:
    """Hold a port for the workers, without listening; ConfigurationError where it is in use."""
    alone = bound(host, port)
    free: int = alone.getsockname()[1]
    alone.close()
    held.enter_context(contextlib.closing(bound(host, free, shares_port=True)))
    return free
