"""All metrics of a router in one hand: counted, looked at, told and sent."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Protocol

from router.config.domain_of import prices_of
from router.config.settings import Settings
from router.domain.clock import Clock
from router.observation.process import ConfigurationFacts, ProcessObserver
from router.telemetry import metric_names as names
from router.telemetry.assembly import collector
from router.telemetry.board import Board
from router.telemetry.cells import Cells, SharedCells
from router.telemetry.exposition import exposition
from router.telemetry.merging import merged
from router.telemetry.meters import Known, Meters, TargetFacts
from router.telemetry.otlp_push import MetricPush
from router.telemetry.registry import Registry, schema_of

# How old what other workers are told of this one may be.
_LOOK_EVERY_S = 1.0


class Observer(Protocol):
    """Reads a part of the router's state."""

    def look(self, board: Board) -> None:
        """Tell what it sees; quick, and without I/O that could wait."""
        ...


class Metrics:
    """Built before the parts that report to it."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        clock: Clock,
        folder: Path | None,
        configuration: Callable[[], ConfigurationFacts],
    ) -> None:
        """`folder` is shared by the workers of a router; None where there is one process."""
        section = settings.telemetry.metrics
        started_s = clock.wall_s()
        cells = Cells(started_s) if folder is None else SharedCells(folder, schema_of(), started_s)
        self.registry = Registry(cells, section.max_series)
        self.meters = Meters(self.registry, known_of(settings), section.max_tenants, clock)
        self._board = Board(self.registry)
        self._process = ProcessObserver(configuration, clock.monotonic_s)
        self._observers: list[Observer] = [self._process]
        self._work: list[Callable[[], Coroutine[object, object, None]]] = [self._look_on]
        self._tasks: list[asyncio.Task[None]] = []
        self._dropped: dict[str, Callable[[], int]] = {}
        self._clock = clock
        self._push = _push(settings, environment, self.registry, clock)

    def observe(
        self,
        observer: Observer,
        work: Callable[[], Coroutine[object, object, None]] | None = None,
    ) -> None:
        """Look through an observer too; `work` is what it does beside, from `start` on."""
        self._observers.append(observer)
        if work is not None and self._tasks:
            self._tasks.append(asyncio.get_running_loop().create_task(work()))
        elif work is not None:
            self._work.append(work)

    def count_dropped(self, signal: str, dropped: Callable[[], int]) -> None:
        """Tell of what another kind of telemetry has given up so far."""
        self._dropped[signal] = dropped

    def reconfigure(self, settings: Settings) -> None:
        """Take the names of another configuration."""
        self.meters.reconfigure(known_of(settings))

    def start(self) -> None:
        """Begin to look and to send; needs a running event loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work()) for work in self._work]
        if self._push is not None:
            self._push.start()

    def look(self) -> None:
        """Bring everything up to date that is read, not reported."""
        for observer in self._observers:
            observer.look(self._board)
        for signal, dropped in self._dropped.items():
            self._board.follow(names.DROPPED, dropped(), signal)
        self._board.turn()

    def text(self, *, open_metrics: bool) -> bytes:
        """What all workers counted; any thread may ask."""
        return exposition(merged(self.registry), open_metrics=open_metrics)

    async def close(self) -> None:
        """Look and send once more, and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.look()
        if self._push is not None:
            await self._push.close()
        self.registry.cells.close()

    async def _look_on(self) -> None:
        while True:
            due_s = self._clock.monotonic_s() + _LOOK_EVERY_S
            await asyncio.sleep(_LOOK_EVERY_S)
            self._process.late(max(0.0, self._clock.monotonic_s() - due_s))
            self.look()


def known_of(settings: Settings) -> Known:
    """The names of a configuration that may be labels."""
    prices = prices_of(settings)
    targets = {
        name: TargetFacts(
            target.profile_name if target.is_provider else target.upstream,
            target.model or "",
            prices[name],
        )
        for name, target in settings.targets.items()
    }
    return Known(frozenset(settings.routes), targets, tuple(settings.tenants))


def _push(
    settings: Settings, environment: Mapping[str, str], registry: Registry, clock: Clock
) -> MetricPush | None:
    section = settings.telemetry
    there = collector(section, environment)
    if there is None:
        return None
    host = socket.gethostname()
    return MetricPush(
        registry,
        collector=there,
        interval_s=section.metrics.export_interval_s,
        resource={
            "service.name": section.service_name,
            "service.instance.id": f"{host}-{registry.cells.number}",
        },
        clock=clock,
    )
