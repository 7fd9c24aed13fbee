"""The composition root: the only place where parts are built, wired, started and closed."""

import asyncio
from collections.abc import Mapping

from router.api.front import build_front
from router.api.health import HealthDoor
from router.api.kserve_grpc import KServeGrpcDoor
from router.api.servers import GrpcServer, HttpServer
from router.config.domain_of import callers_of, routes_of, spaces_of
from router.config.settings import Settings
from router.domain.clock import Clock
from router.fleet import Fleet, tokenizers_of
from router.policy.keys import KeyRing
from router.service import EmbeddingService
from router.telemetry.logs import Log


class App:
    """A running router. Build it, start it, stop it; all on one event loop."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], clock: Clock, log: Log
    ) -> None:
        """Build every part; ConfigurationError where the settings cannot be met.

        Needs a running event loop: gRPC channels belong to one.
        """
        self._settings = settings
        self._log = log
        self._draining = False
        spaces = spaces_of(settings)
        tokenizers = tokenizers_of(settings)
        self.fleet = Fleet(settings, environment, spaces, tokenizers, clock, log)
        self.service = EmbeddingService(
            routes=routes_of(settings, spaces),
            tokenizers=tokenizers,
            dispatcher=self.fleet.dispatcher,
            keys=KeyRing(callers_of(settings, environment)),
            is_up=self.fleet.is_up,
            uncached_tenants=frozenset(
                name for name, tenant in settings.tenants.items() if not tenant.cache
            ),
            clock=clock,
        )
        health = HealthDoor(self.service, lambda: self._draining)
        self.is_ready = health.is_ready
        front = build_front(self.service, health, settings.server, clock, log)
        server = settings.server
        self.http = HttpServer(front, server.host, server.port)
        self.grpc: GrpcServer | None = None
        if server.grpc_port is not None:
            door = KServeGrpcDoor(self.service, server, clock, log, self.is_ready)
            self.grpc = GrpcServer(door, server.host, server.grpc_port, server.max_body_bytes)

    async def start(self) -> None:
        """Listen; targets are watched from now on, requests are answered at once."""
        asyncio.get_running_loop().set_exception_handler(self._report_defect)
        self.fleet.start()
        if self.grpc is not None:
            await self.grpc.start()
        await self.http.start()
        self._log.event(
            "started",
            host=self._settings.server.host,
            port=self.http.port,
            grpc_port=self.grpc.port if self.grpc is not None else None,
        )

    async def stop(self, drain_s: float | None = None) -> None:
        """Finish what is under way within `drain_s` seconds (the configured time), then close."""
        self._draining = True
        seconds = self._settings.server.drain_timeout_s if drain_s is None else drain_s
        self._log.event("draining", seconds=seconds)
        await self.http.stop(seconds)
        if self.grpc is not None:
            await self.grpc.stop(seconds)
        await self.fleet.close()
        self._log.event("stopped")

    def _report_defect(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Instead of the loop's own report, which prints messages that may hold input text."""
        del loop
        error = context.get("exception")
        self._log.event("defect", method="loop", error=type(error).__name__)
