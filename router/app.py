"""The composition root: what lives for the process, the configuration in force, the listeners."""

import asyncio
import gc
from collections.abc import Mapping

from router.api.servers import GrpcServer, HttpServer, bound
from router.api.switch import GrpcSwitch, HttpSwitch
from router.authentication.authenticator import Authenticator
from router.config.changes import require_reloadable
from router.config.file import Loaded
from router.config.settings import Settings
from router.domain.clock import Clock
from router.domain.serving import Served, ServedByAll, WorkerPlace
from router.edition import Edition
from router.fleet import Fleet, tokenizers_of
from router.ground import Ground
from router.observation.metrics import Metrics
from router.observation.process import ConfigurationFacts
from router.observation.targets import TargetObserver
from router.reloading.board import Board
from router.reloading.reloader import Reloader
from router.service import EmbeddingService
from router.telemetry.logs import Log
from router.text.language import detector_of

# How long a new configuration may take to be as ready as the old one, before it is taken anyway.
_SETTLE_S = 15.0
# How long after the last possible answer the old one is given up.
_RETIRE_S = 60.0
_PUBLISH_S = 0.5
# Where workers keep what they count, in the folder that they share.
_METRICS = "metrics"


def spare_the_collector() -> None:
    """Leave what a started router is made of out of garbage collection from now on.

    For the process that serves one router until it ends: the hundred thousand objects of libraries
    and configuration never become garbage, and looking through them again and again cost requests
    up to a fifth of their rate, and twenty milliseconds at a time.
    """
    gc.collect()
    gc.freeze()


class App:
    """A running router. Build it, start it, stop it; all on one event loop."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        clock: Clock,
        log: Log,
        *,
        reloader: Reloader | None = None,
        worker: WorkerPlace | None = None,
    ) -> None:
        """Build every part; ConfigurationError where the settings cannot be met.

        `reloader` has given the settings and gives later ones; `worker` says which of several
        processes this is, that share their ports. Needs a running event loop: gRPC channels belong
        to one.
        """
        self._environment = environment
        self._log = log
        self._reloader = reloader
        self._board = Board(worker)
        self._hash = reloader.newest if reloader is not None else None
        self._draining = False
        folder = worker.folder / _METRICS if worker is not None else None
        self.metrics = Metrics(settings, environment, clock, folder, self._configuration)
        self._ground = Ground(settings, environment, clock, log, self.metrics)
        self._edition = Edition(
            settings, environment, tokenizers_of(settings), detector_of(settings), self._ground,
            lambda: self._draining, self.served,
        )  # fmt: skip
        self._edition.declare()
        self.metrics.observe(
            TargetObserver(lambda: self._edition.view(), clock.monotonic_s)  # noqa: PLW0108
        )
        self._retiring: dict[asyncio.Task[None], Edition] = {}
        self._publisher: asyncio.Task[None] | None = None
        self._http_switch = HttpSwitch(self._edition.front)
        self._grpc_switch = GrpcSwitch(self._edition.door)
        server, self._worker = settings.server, worker
        port, grpc_port, shares = server.port, server.grpc_port, worker is not None
        if worker is not None:
            port, grpc_port = worker.http_port, worker.grpc_port
        listener = bound(server.host, port, shares_port=shares)
        self.http = HttpServer(self._http_switch, listener)
        self.grpc: GrpcServer | None = None
        if grpc_port is not None:
            self.grpc = GrpcServer(
                self._grpc_switch, server.host, grpc_port, server.max_body_bytes, shares_port=shares
            )

    @property
    def fleet(self) -> Fleet:
        """The targets of the configuration in force."""
        return self._edition.fleet

    @property
    def service(self) -> EmbeddingService:
        """The service of the configuration in force."""
        return self._edition.service

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return self._edition.settings

    @property
    def authenticator(self) -> Authenticator:
        """Who calls."""
        return self._ground.authenticator

    @property
    def under_way(self) -> int:
        """Requests that are being answered, by whichever configuration."""
        return sum(one.under_way for one in (self._edition, *self._retiring.values()))

    def is_ready(self) -> bool:
        """Whether at least one route would be served and the router is not draining."""
        return self._edition.health.is_ready()

    def served(self) -> ServedByAll:
        """What this worker and the others serve."""
        # Read now: this worker may be the one that has not seen it yet.
        on_disk = self._reloader.on_disk() if self._reloader is not None else self._hash
        return self._board.of_all(self._served(), on_disk)

    async def start(self) -> None:
        """Listen; targets are watched from now on, requests are answered at once."""
        asyncio.get_running_loop().set_exception_handler(self._report_defect)
        await asyncio.to_thread(self._ground.prepare)
        await self._ground.start()
        await self.fleet.start()
        self.metrics.start()
        if self._worker is not None:
            # The others may be serving: who is sent here must not find it worse than there.
            every = dict.fromkeys(self.service.routes, True)
            await self._edition.settle(every, _SETTLE_S)
        if self.grpc is not None:
            await self.grpc.start()
        await self.http.start()
        self._board.publish(self._served())
        self._publisher = asyncio.create_task(self._publish())
        if self._reloader is not None:
            self._reloader.start(self.reload)
        self._log.event(
            "started",
            host=self.settings.server.host,
            port=self.http.port,
            grpc_port=self.grpc.port if self.grpc is not None else None,
            worker=self._worker.index if self._worker is not None else None,
        )

    async def reload(self, loaded: Loaded) -> None:
        """Serve another configuration from now on, without a request's noticing.

        ConfigurationError where it cannot be; then nothing has changed.
        """
        before = self._edition
        require_reloadable(before.settings, loaded.settings)
        tokenizers = await asyncio.to_thread(
            tokenizers_of, loaded.settings, before.settings, before.tokenizers
        )
        detector = await asyncio.to_thread(detector_of, loaded.settings, before.detector)
        edition = Edition(
            loaded.settings, self._environment, tokenizers, detector, self._ground,
            lambda: self._draining, self.served, before,
        )  # fmt: skip
        ready = before.ready_routes()
        await edition.fleet.start()
        is_settled = await edition.settle(ready, _SETTLE_S)
        # From here to the end nothing waits: a request meets the one or the other.
        edition.declare()
        self._edition, self._hash = edition, loaded.hash
        self._http_switch.front, self._grpc_switch.door = edition.front, edition.door
        retiring = asyncio.create_task(self._retire(before))
        self._retiring[retiring] = before
        retiring.add_done_callback(lambda task: self._retiring.pop(task, None))
        self._log.event(
            "configuration", generation=loaded.settings.generation, hash=loaded.hash,
            settled=is_settled,
        )  # fmt: skip
        if self._worker is not None:
            await asyncio.to_thread(self._board.remember, loaded.data)
            self._board.publish(self._served())

    def reload_soon(self) -> None:
        """Look at the configuration file now."""
        if self._reloader is not None:
            self._reloader.poke()

    async def stop(self, drain_s: float | None = None, delay_s: float = 0.0) -> None:
        """Finish what is under way within `drain_s` seconds (the configured time), then close.

        For `delay_s` seconds before that it is not ready but serves, and tells clients to connect
        elsewhere: whoever sends requests needs the time to hear that it leaves.
        """
        self._draining = True
        seconds = self.settings.server.drain_timeout_s if drain_s is None else drain_s
        self._log.event("draining", seconds=seconds, delay_s=delay_s)
        if self._reloader is not None:
            await self._reloader.close()
        await asyncio.sleep(delay_s)
        await self.http.stop(seconds)
        if self.grpc is not None:
            await self.grpc.stop(seconds)
        if self._publisher is not None:
            self._publisher.cancel()
            await asyncio.gather(self._publisher, return_exceptions=True)
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        for edition in retiring.values():
            await edition.fleet.close(frozenset(self.fleet.connections))
        await self.fleet.close()
        await self.metrics.close()
        await self._ground.close()
        self._log.event("stopped")

    def _configuration(self) -> ConfigurationFacts:
        served = self._served()
        return ConfigurationFacts(served.generation, served.hash or "", served.pending_error)

    def _served(self) -> Served:
        error = self._reloader.pending_error if self._reloader is not None else None
        settings, targets = self._edition.settings, self._edition.targets()
        return Served(settings.generation, self._hash, error, targets)

    async def _publish(self) -> None:
        while True:
            self._board.publish(self._served())
            await asyncio.sleep(_PUBLISH_S)

    async def _retire(self, edition: Edition) -> None:
        """Close what nobody uses any more, after the last request that it has begun."""
        await edition.idle(edition.settings.server.request_timeout_s + _RETIRE_S)
        living = [self._edition, *(one for one in self._retiring.values() if one is not edition)]
        kept = frozenset().union(*(one.fleet.connections for one in living))
        await edition.fleet.close(kept)

    def _report_defect(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Instead of the loop's own report, which prints messages that may hold input text."""
        del loop
        error = context.get("exception")
        self._log.event("defect", method="loop", error=type(error).__name__)
