"""The table of paths: which door answers what."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.api.admin import AdminDoor
from router.api.configuration import ConfigurationDoor
from router.api.exchange import Reply
from router.api.health import HealthDoor
from router.api.http import Endpoint, HttpFront
from router.api.kserve_http import KServeHttpDoor
from router.api.metrics import MetricsDoor
from router.api.openai import OpenAIDoor
from router.api.openapi import DocumentationDoor
from router.api.traces import TraceDoor
from router.api.usage import UsageDoor
from router.authentication.authenticator import Authenticator
from router.config.settings import Server
from router.domain.clock import Clock
from router.domain.ports import Recorder
from router.domain.types import Scope
from router.service import EmbeddingService
from router.telemetry.logs import Log

# A model's name may hold slashes, as Hugging Face ids do.
_MODEL = r"(?P<model>.+?)"
_EMBED = (Scope.EMBED,)
_ADMIN = (Scope.ADMIN,)
_USAGE = (Scope.USAGE, Scope.ADMIN)


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors beside those that embed."""

    admin: AdminDoor
    usage: UsageDoor
    traces: TraceDoor
    health: HealthDoor
    configuration: ConfigurationDoor
    metrics: MetricsDoor


def build_front(
    service: EmbeddingService,
    authenticator: Authenticator,
    doors: Doors,
    limits: Server,
    clock: Clock,
    log: Log,
    recorder: Recorder,
) -> HttpFront:
    """Every path of the HTTP front."""
    openai = OpenAIDoor(service, limits, clock)
    kserve = KServeHttpDoor(service, limits)
    pages = DocumentationDoor(service)
    health = doors.health
    return HttpFront(
        exact={
            "/admin/v1/usage": Endpoint({"GET": doors.usage.usage}, scopes=_USAGE),
            "/v1/embeddings": Endpoint({"POST": openai.embeddings}, scopes=_EMBED),
            "/v1/models": Endpoint({"GET": openai.models}),
            "/metrics": Endpoint({"GET": doors.metrics.metrics}, needs_key=False),
            "/health/configuration": Endpoint({"GET": doors.configuration.served}, needs_key=False),
            "/health/live": Endpoint({"GET": health.live}, needs_key=False),
            "/health/accepting": Endpoint({"GET": health.accepting}, needs_key=False),
            "/health/ready": Endpoint({"GET": health.ready}, needs_key=False),
            "/v2": Endpoint({"GET": kserve.server}, needs_key=False),
            "/v2/health/live": Endpoint({"GET": health.live}, needs_key=False),
            "/v2/health/ready": Endpoint({"GET": health.ready}, needs_key=False),
            "/openapi.json": Endpoint({"GET": pages.openapi}, needs_key=False),
            "/docs": Endpoint({"GET": pages.page}, needs_key=False),
        },
        patterns=_admin_paths(doors.admin)
        | {
            f"/v1/models/{_MODEL}": Endpoint({"GET": openai.model}),
            "/admin/v1/traces/(?P<trace>[A-Za-z0-9._:-]{1,128})": Endpoint(
                {"GET": doors.traces.trace}, scopes=_ADMIN
            ),
            rf"/v2/models/{_MODEL}(/versions/[^/]+)?/infer": Endpoint(
                {"POST": kserve.infer}, scopes=_EMBED
            ),
            rf"/v2/models/{_MODEL}(/versions/[^/]+)?/ready": Endpoint(
                {"GET": kserve.model_ready}, needs_key=False
            ),
            rf"/v2/models/{_MODEL}(/versions/[^/]+)?": Endpoint({"GET": kserve.model}),
        },
        authenticator=authenticator,
        clock=clock,
        log=log,
        log_requests=limits.log_requests,
        recorder=recorder,
        is_leaving=health.is_draining,
        meters=doors.metrics.meters,
    )


def _admin_paths(door: AdminDoor) -> dict[str, Endpoint]:
    tenant = r"/admin/v1/tenants/(?P<tenant>[^/]+)"
    key = rf"{tenant}/keys/(?P<key>[^/]+)"
    methods: dict[str, dict[str, Callable[..., Awaitable[Reply]]]] = {
        "/admin/v1/tenants": {"GET": door.tenants, "POST": door.create_tenant},
        tenant: {"GET": door.tenant, "PATCH": door.change_tenant},
        f"{tenant}/keys": {"GET": door.keys, "POST": door.create_key},
        key: {"PATCH": door.change_key},
        f"{key}/rotate": {"POST": door.rotate_key},
        "/admin/v1/quotas": {"GET": door.quotas, "PUT": door.put_quota},
        "/admin/v1/targets": {"GET": door.targets},
        "/admin/v1/quotas/(?P<quota>.+)": {"DELETE": door.remove_quota},
    }
    return {path: Endpoint(methods, scopes=_ADMIN) for path, methods in methods.items()}
