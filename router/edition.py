"""What lives for one configuration: its fleet, its service, and its doors.

A changed configuration is built beside the one in force, made ready, and put in its place; the old
one finishes what it has begun. What is the same in both goes over: see `fleet.py`.
"""

import asyncio
from collections.abc import Callable, Mapping
from itertools import chain

from router.administration.quotas import QuotaAdministration
from router.administration.tenants import Administration
from router.administration.traces import TraceAdministration
from router.administration.usage import UsageAdministration
from router.api.admin import AdminDoor
from router.api.configuration import ConfigurationDoor
from router.api.front import Doors, build_front
from router.api.health import HealthDoor
from router.api.kserve_grpc import KServeGrpcDoor
from router.api.metrics import MetricsDoor
from router.api.traces import TraceDoor
from router.api.usage import UsageDoor
from router.config.declared import declared_keys, declared_tenants
from router.config.domain_of import keys_of, pins_of, prices_of, quotas_of, routes_of, spaces_of
from router.config.settings import Settings
from router.dispatch import references
from router.domain.errors import ConfigurationError
from router.domain.ports import Tokenizer
from router.domain.serving import ServedByAll, TargetReport
from router.domain.types import Space
from router.fleet import Fleet
from router.ground import Ground
from router.observation.targets import TargetView
from router.policy.keys import KeyRing
from router.service import EmbeddingService
from router.store.quotas import StoredQuotas
from router.store.tenant_store import SqlTenantStore
from router.store.usage import UsageRecords, UsageReports
from router.telemetry.assembly import shelf_folder
from router.telemetry.shelf import find
from router.text.golden import golden_batches
from router.text.identity import identified
from router.text.language import LanguageDetector

_POLL_S = 0.02


class Edition:
    """One configuration as it serves."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        tokenizers: Mapping[str, Tokenizer],
        detector: LanguageDetector | None,
        ground: Ground,
        is_draining: Callable[[], bool],
        served: Callable[[], ServedByAll],
        previous: "Edition | None" = None,
    ) -> None:
        """ConfigurationError where the settings cannot be met; `previous` is none the worse."""
        self.settings = settings
        self.tokenizers = tokenizers
        self.detector = detector
        self._ground = ground
        spaces = identified(spaces_of(settings), tokenizers)
        self._ring = KeyRing(
            keys_of(settings, environment),
            {name: not tenant.disabled for name, tenant in settings.tenants.items()},
        )
        self._quotas = quotas_of(settings)
        if previous is not None:
            _require_same_words(spaces, tokenizers, previous)
        meter = ground.meter(prices_of(settings)) if ground.meters(settings) else None
        before: Fleet | None = previous.fleet if previous is not None else None
        self.fleet: Fleet = Fleet(
            settings,
            environment,
            spaces,
            tokenizers,
            ground.clock,
            ground.log,
            before,
            ground.metrics.meters.rerouted,
        )
        self.service = EmbeddingService(
            routes=routes_of(settings, spaces),
            pins=pins_of(settings),
            tokenizers=tokenizers,
            dispatcher=self.fleet.dispatcher,
            is_up=self.fleet.is_up,
            uncached_tenants=frozenset(
                name for name, tenant in settings.tenants.items() if not tenant.cache
            ),
            meter=meter,
            reports=ground.metrics.meters,
            clock=ground.clock,
            language_of=None if detector is None else detector.language_of,
        )
        # Once targets are known they stay known: those that are new after a change wait for no one.
        self.health = HealthDoor(
            self.service, is_draining, lambda: previous is not None or self.fleet.knows_targets()
        )
        self.front = build_front(
            self.service,
            ground.authenticator,
            Doors(
                self._admin(),
                UsageDoor(UsageAdministration(UsageReports(ground.engine), ground.clock)),
                self._traces(),
                self.health,
                ConfigurationDoor(served),
                MetricsDoor(ground.metrics),
            ),
            settings.server,
            ground.clock,
            ground.log,
            ground.tracer,
        )
        self.door = KServeGrpcDoor(
            self.service,
            ground.authenticator,
            settings.server,
            ground.clock,
            ground.log,
            self.health.is_ready,
            ground.tracer,
            ground.metrics.meters,
        )

    @property
    def under_way(self) -> int:
        """Requests that it is answering."""
        return self.front.under_way + self.door.under_way

    def view(self) -> TargetView:
        """The state of its targets, for who looks at it."""
        settings, estate = self.settings, self.fleet.estate()
        return TargetView(
            states=estate.states,
            rooms=estate.rooms,
            upstreams=estate.connections,
            records=estate.prober.records,
            spaces={name: target.space for name, target in settings.targets.items()},
            routes={name: route.targets for name, route in settings.routes.items()},
            is_ready=self.fleet.is_ready,
            budget=estate.budget,
            memory=estate.memory,
        )

    def targets(self) -> dict[str, TargetReport]:
        """How each target stands, and whether it is up."""
        return {
            name: TargetReport(
                self.fleet.space_of(name).name,
                state.standing.value,
                up=self.fleet.is_up(name),
                measured=self.fleet.prober.is_measured(name),
            )
            for name, state in self.fleet.states.items()
        }

    def declare(self) -> None:
        """Keys and quotas are those of this configuration from now on."""
        self._ground.declare(self.settings, self._ring, self._quotas)

    async def settle(self, routes: Mapping[str, bool], within_s: float) -> bool:
        """Wait until the routes that are True would be served; whether they are in time.

        Routes that there are no more are nobody's concern.
        """
        wanted = [name for name, is_up in routes.items() if is_up and name in self.service.routes]
        # Polled: what a route needs to be ready comes from many sides.
        for _ in range(max(1, round(within_s / _POLL_S))):
            if all(map(self.service.is_route_ready, wanted)):
                return True
            await asyncio.sleep(_POLL_S)
        return False

    def ready_routes(self) -> dict[str, bool]:
        """Each route, and whether it would be served now."""
        return {name: self.service.is_route_ready(name) for name in self.service.routes}

    async def idle(self, within_s: float) -> None:
        """Wait for the requests under way, but not for ever."""
        for _ in range(max(1, round(within_s / _POLL_S))):
            if not self.under_way:
                return
            await asyncio.sleep(_POLL_S)

    def _traces(self) -> TraceDoor:
        folder = shelf_folder(self.settings.store.state)
        records = UsageRecords(self._ground.engine)
        traces = TraceAdministration(lambda name: find(folder, name), records)
        return TraceDoor(traces, self._ground.tracer.flush)

    def _admin(self) -> AdminDoor:
        ground, settings = self._ground, self.settings
        tenants = Administration(
            SqlTenantStore(ground.engine),
            declared_tenants(settings),
            declared_keys(settings),
            ground.clock,
        )
        declared = chain.from_iterable(self._quotas.values())
        quotas = QuotaAdministration(
            StoredQuotas(ground.engine), declared, tenants, self.service.routes, ground.clock
        )
        return AdminDoor(tenants, quotas, self.fleet.accounts, ground.clock, ground.log)


def _require_same_words(
    spaces: Mapping[str, Space], tokenizers: Mapping[str, Tokenizer], previous: Edition
) -> None:
    """ConfigurationError where another tokenizer would make other vectors in a space."""
    for name, space in spaces.items():
        before = previous.tokenizers.get(name)
        if before is None or before is tokenizers[name]:
            continue
        old = references.fingerprint(golden_batches(space, before))
        if references.fingerprint(golden_batches(space, tokenizers[name])) != old:
            raise ConfigurationError(
                f"spaces.{name}.tokenizer cuts texts otherwise than the one in use, which makes "
                "other vectors: give the new space a name of its own"
            )
