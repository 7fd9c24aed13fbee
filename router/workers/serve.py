"""A process that serves a configuration file until it is told to stop."""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from router.app import App, spare_the_collector
from router.config.file import ConfigurationFile
from router.domain.clock import Clock
from router.domain.serving import WorkerPlace
from router.reloading.board import Board
from router.reloading.reloader import Reloader
from router.telemetry.logs import Log


async def serve(
    config: Path, place: WorkerPlace | None, environment: Mapping[str, str], clock: Clock
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP looks at the file. ConfigurationError at the start.

    A worker (`place`) also stops when the other end of its standard input is closed: the process
    that started it is gone.
    """
    log = Log(clock)
    reloader = Reloader(ConfigurationFile(config), Board(place), log)
    loaded = reloader.first()
    app = App(loaded.settings, environment, clock, log, reloader=reloader, worker=place)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    delays: list[float] = []

    def leave(number: signal.Signals) -> None:
        # Who presses a key wants to be rid of it; who sends SIGTERM may still send requests.
        is_asked = number is signal.SIGTERM
        delays.append(app.settings.server.drain_delay_s if is_asked else 0.0)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave, number)
    loop.add_signal_handler(signal.SIGHUP, app.reload_soon)
    if place is not None:
        loop.add_reader(sys.stdin.fileno(), _orphaned, loop, leave)
    await app.start()
    if place is not None:
        Board(place).remember(loaded.data)
    spare_the_collector()
    await stop.wait()
    await app.stop(delay_s=delays[0])


def place_text(place: WorkerPlace) -> str:
    """The place as an argument of a command line."""
    fields = (place.index, place.count, str(place.folder), place.http_port, place.grpc_port)
    return orjson.dumps(fields).decode()


def place_from(text: str) -> WorkerPlace:
    """The place that `place_text` wrote."""
    index, count, folder, http_port, grpc_port = orjson.loads(text)
    return WorkerPlace(index, count, Path(folder), http_port, grpc_port)


def _orphaned(loop: asyncio.AbstractEventLoop, leave: Callable[[signal.Signals], None]) -> None:
    loop.remove_reader(sys.stdin.fileno())
    leave(signal.SIGTERM)
