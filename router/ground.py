"""What lives as long as the process: the store, the memory of keys, and the books."""

import itertools
from collections.abc import Mapping, Sequence

from router.authentication.authenticator import Authenticator
from router.authentication.changes import ChangeWatch
from router.config.authentication import IssuerSettings
from router.config.load import store_url
from router.config.settings import Settings
from router.domain.clock import Clock
from router.domain.ports import TokenVerifier
from router.domain.quotas import Quota
from router.identity.fetch import fetch
from router.identity.oidc import OidcVerifier
from router.metering.bookkeeper import Backing, Bookkeeper, Retention
from router.metering.desk import Desk
from router.metering.meter import Meter
from router.metering.plans import Plans
from router.metering.pump import Pump
from router.observation.books import BookObserver, BookView, StoreObserver
from router.observation.expiry import ExpiryObserver, key_ends_s
from router.observation.metrics import Metrics
from router.policy.key_cache import KeyCache
from router.policy.keys import KeyRing
from router.store.engine import open_engine
from router.store.key_directory import SqlKeyDirectory
from router.store.leases import LeaseBook
from router.store.ledger import Ledger
from router.store.migrate import prepare
from router.store.quotas import StoredQuotas
from router.store.recovery import recover_all
from router.store.spool import Spool
from router.store.spool_folder import SpoolFolder
from router.telemetry.assembly import make_tracer, target_facts
from router.telemetry.logs import Log

Quotas = Mapping[tuple[str, str], Sequence[Quota]]


class Books:
    """Metering: leases, spool and ledger, with the work behind them. Built when first needed."""

    def __init__(self, ground: "Ground", settings: Settings) -> None:
        """StoreUnavailableError where the disk has no room for a spool."""
        store, engine, clock = settings.store, ground.engine, ground.clock
        self._clock = clock
        self._spool = Spool(SpoolFolder.made(store.state))
        leases, ledger = LeaseBook(engine, self._spool.holder), Ledger(engine)
        quotas = StoredQuotas(engine)
        desk = Desk(leases, clock)
        pump = Pump(self._spool, ledger, clock, store.sync_interval_s)
        self.plans = Plans({}, quotas, desk, clock)
        self._numbers = itertools.count(1)
        self.bookkeeper = Bookkeeper(
            plans=self.plans,
            desk=desk,
            pump=pump,
            backing=Backing(
                self._spool,
                ledger,
                quotas,
                lambda: recover_all(store.state, ledger, leases, clock),
            ),
            retention=Retention(store.usage_days, store.hourly_days, store.daily_days),
            clock=clock,
            log=ground.log,
        )

        view = BookView(self.plans, desk, pump, self.bookkeeper, ledger, lambda: ground.quotas)
        observer = BookObserver(view, ground.metrics.meters.tenant, clock)
        ground.metrics.observe(observer, observer.work)

    def meter(self, prices: Mapping[str, int | None]) -> Meter:
        """A meter that charges these prices."""
        return Meter(self.plans, self._spool, prices, self._clock, self._numbers)


class Ground:
    """The parts that all configurations of a process stand on."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        """ConfigurationError where there is no address of a store. Keys are declared later."""
        self.clock = clock
        self.log = log
        self.metrics = metrics
        self.quotas: Quotas = {}
        self.engine = open_engine(store_url(settings.store, environment))
        self._settings = settings
        self._issuers: Mapping[str, IssuerSettings] = settings.authentication.issuers
        self._directory = SqlKeyDirectory(self.engine)
        self._books: Books | None = None
        self._is_started = False
        self._replaced: list[TokenVerifier] = []
        self.authenticator = self._build_authenticator(settings)
        self.tracer = make_tracer(settings, environment, clock, log)
        metrics.count_dropped("traces", lambda: self.tracer.dropped)
        metrics.count_dropped("logs", lambda: log.failed)
        self._key_ends_s: list[float] = []
        self._observe_keys(settings)

    def meters(self, settings: Settings) -> bool:
        """Whether usage is counted; once it is, that does not end before the process does."""
        return self._books is not None or settings.is_metered

    def meter(self, prices: Mapping[str, int | None]) -> Meter:
        """A meter that charges these prices (nano-USD per million tokens, by target)."""
        if self._books is None:
            self._books = Books(self, self._settings)
            if self._is_started:
                self._books.bookkeeper.start()
        return self._books.meter(prices)

    def declare(self, settings: Settings, ring: KeyRing, quotas: Quotas) -> None:
        """Keys, quotas and providers of tokens are these from now on."""
        tokens = None
        if settings.authentication.issuers != self._issuers:
            self._issuers = settings.authentication.issuers
            tokens = OidcVerifier(self._issuers, fetch, self.clock)
        replaced = self.authenticator.declare(ring, tokens)
        if replaced is not None:
            self._replaced.append(replaced)
        self.quotas = quotas
        if self._books is not None:
            self._books.plans.redeclare(quotas)
        self.tracer.declare(target_facts(settings))
        self._key_ends_s = key_ends_s(settings)
        self.metrics.reconfigure(settings)

    def prepare(self) -> None:
        """Bring the store up to date, or see that it is; waits for the database."""
        prepare(self.engine)

    async def start(self) -> None:
        """Begin to hear of changed keys, and to keep the books."""
        await self.authenticator.start()
        self.tracer.start()
        self._is_started = True
        if self._books is not None:
            self._books.bookkeeper.start()

    async def close(self) -> None:
        """After the last request: bring everything to the store, and let go of it."""
        # Money first: nothing that telemetry meets may come between.
        if self._books is not None:
            await self._books.bookkeeper.close()
        await self.tracer.close()
        await self.authenticator.close()
        for verifier in self._replaced:
            await verifier.close()
        self._directory.close()
        self.engine.dispose()

    def _observe_keys(self, settings: Settings) -> None:
        certificates = settings.telemetry.metrics.certificates
        expiry = ExpiryObserver(lambda: self._key_ends_s, self._directory, certificates, self.clock)
        self.metrics.observe(expiry, expiry.work)
        watch = self.authenticator.watch
        self.metrics.observe(StoreObserver(lambda: watch.is_reachable))

    def _build_authenticator(self, settings: Settings) -> Authenticator:
        known = settings.authentication
        cache = KeyCache(known.max_known_keys, known.max_unknown_keys)
        return Authenticator(
            declared=KeyRing({}, {}),
            cache=cache,
            directory=self._directory,
            watch=ChangeWatch(
                self._directory, cache, self.clock, known.max_staleness_s, self._report_store
            ),
            tokens=OidcVerifier(known.issuers, fetch, self.clock),
            clock=self.clock,
        )

    def _report_store(self, is_reachable: bool) -> None:
        self.log.event("store", reachable=is_reachable)
