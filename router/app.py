"""The composition root: the only place where parts are built, wired, started and closed."""

import asyncio
import gc
from collections.abc import Mapping
from itertools import chain

from router.administration.quotas import QuotaAdministration
from router.administration.tenants import Administration
from router.administration.usage import UsageAdministration
from router.api.admin import AdminDoor
from router.api.front import build_front
from router.api.health import HealthDoor
from router.api.kserve_grpc import KServeGrpcDoor
from router.api.servers import GrpcServer, HttpServer
from router.api.usage import UsageDoor
from router.authentication.authenticator import Authenticator
from router.authentication.changes import ChangeWatch
from router.config.declared import declared_keys, declared_tenants
from router.config.domain_of import keys_of, prices_of, quotas_of, routes_of, spaces_of
from router.config.load import store_url
from router.config.settings import Settings
from router.domain.clock import Clock
from router.fleet import Fleet, tokenizers_of
from router.identity.fetch import fetch
from router.identity.oidc import OidcVerifier
from router.metering.bookkeeper import Backing, Bookkeeper, Retention
from router.metering.desk import Desk
from router.metering.meter import Meter
from router.metering.plans import Plans
from router.metering.pump import Pump
from router.policy.key_cache import KeyCache
from router.policy.keys import KeyRing
from router.service import EmbeddingService
from router.store.engine import open_engine
from router.store.key_directory import SqlKeyDirectory
from router.store.leases import LeaseBook
from router.store.ledger import Ledger
from router.store.migrate import prepare
from router.store.quotas import StoredQuotas
from router.store.recovery import recover_all
from router.store.spool import Spool
from router.store.spool_folder import SpoolFolder
from router.store.tenant_store import SqlTenantStore
from router.store.usage import UsageReports
from router.telemetry.logs import Log


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
        self, settings: Settings, environment: Mapping[str, str], clock: Clock, log: Log
    ) -> None:
        """Build every part; ConfigurationError where the settings cannot be met.

        Needs a running event loop: gRPC channels belong to one.
        """
        self._settings = settings
        self._log = log
        self._draining = False
        self._engine = open_engine(store_url(settings.store, environment))
        self._bookkeeper: Bookkeeper | None = None
        spaces = spaces_of(settings)
        tokenizers = tokenizers_of(settings)
        self.fleet = Fleet(settings, environment, spaces, tokenizers, clock, log)
        self.service = EmbeddingService(
            routes=routes_of(settings, spaces),
            tokenizers=tokenizers,
            dispatcher=self.fleet.dispatcher,
            is_up=self.fleet.is_up,
            uncached_tenants=frozenset(
                name for name, tenant in settings.tenants.items() if not tenant.cache
            ),
            meter=self._build_meter(clock) if settings.is_metered else None,
            clock=clock,
        )
        self._directory = SqlKeyDirectory(self._engine)
        self.authenticator = self._build_authenticator(environment, clock)
        health = HealthDoor(self.service, lambda: self._draining)
        self.is_ready = health.is_ready
        front = build_front(
            self.service,
            self.authenticator,
            self._build_admin(clock, log),
            UsageDoor(UsageAdministration(UsageReports(self._engine), clock)),
            health,
            settings.server,
            clock,
            log,
        )
        server = settings.server
        self.http = HttpServer(front, server.host, server.port)
        self.grpc: GrpcServer | None = None
        if server.grpc_port is not None:
            door = KServeGrpcDoor(
                self.service, self.authenticator, server, clock, log, self.is_ready
            )
            self.grpc = GrpcServer(door, server.host, server.grpc_port, server.max_body_bytes)

    async def start(self) -> None:
        """Listen; targets are watched from now on, requests are answered at once."""
        asyncio.get_running_loop().set_exception_handler(self._report_defect)
        await asyncio.to_thread(prepare, self._engine)
        await self.authenticator.start()
        if self._bookkeeper is not None:
            self._bookkeeper.start()
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
        if self._bookkeeper is not None:
            await self._bookkeeper.close()
        await self.authenticator.close()
        self._directory.close()
        self._engine.dispose()
        self._log.event("stopped")

    def _build_authenticator(self, environment: Mapping[str, str], clock: Clock) -> Authenticator:
        settings = self._settings.authentication
        cache = KeyCache(settings.max_known_keys, settings.max_unknown_keys)
        tenants = {name: not item.disabled for name, item in self._settings.tenants.items()}
        return Authenticator(
            declared=KeyRing(keys_of(self._settings, environment), tenants),
            cache=cache,
            directory=self._directory,
            watch=ChangeWatch(
                self._directory, cache, clock, settings.max_staleness_s, self._report_store
            ),
            tokens=OidcVerifier(settings.issuers, fetch, clock),
            clock=clock,
        )

    def _build_meter(self, clock: Clock) -> Meter:
        settings, store = self._settings, self._settings.store
        spool = Spool(SpoolFolder.made(store.state))
        leases, ledger = LeaseBook(self._engine, spool.holder), Ledger(self._engine)
        quotas = StoredQuotas(self._engine)
        desk = Desk(leases, clock)
        plans = Plans(quotas_of(settings), quotas, desk, clock)
        self._bookkeeper = Bookkeeper(
            plans=plans,
            desk=desk,
            pump=Pump(spool, ledger, clock, store.sync_interval_s),
            backing=Backing(
                spool, ledger, quotas, lambda: recover_all(store.state, ledger, leases, clock)
            ),
            retention=Retention(store.usage_days, store.hourly_days, store.daily_days),
            clock=clock,
            log=self._log,
        )
        return Meter(plans, spool, prices_of(settings), clock)

    def _build_admin(self, clock: Clock, log: Log) -> AdminDoor:
        settings = self._settings
        tenants = Administration(
            SqlTenantStore(self._engine), declared_tenants(settings), declared_keys(settings), clock
        )
        declared = chain.from_iterable(quotas_of(settings).values())
        quotas = QuotaAdministration(
            StoredQuotas(self._engine), declared, tenants, self.service.routes, clock
        )
        return AdminDoor(tenants, quotas, clock, log)

    def _report_store(self, is_reachable: bool) -> None:
        self._log.event("store", reachable=is_reachable)

    def _report_defect(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Instead of the loop's own report, which prints messages that may hold input text."""
        del loop
        error = context.get("exception")
        self._log.event("defect", method="loop", error=type(error).__name__)
