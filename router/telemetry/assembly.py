"""Builds what records traces, from the settings."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from router import __version__
from router.config.load import secret_headers
from router.config.profiles import ProfileSettings, profiles_of
from router.config.settings import Settings, TargetSettings
from router.config.telemetry import TelemetrySettings
from router.domain.clock import Clock
from router.telemetry import names
from router.telemetry.export import Collector, SpanExporter
from router.telemetry.logs import Log
from router.telemetry.otlp import Envelope, Value
from router.telemetry.sampling import Sampler
from router.telemetry.shelf import TraceShelf
from router.telemetry.spans import SpanWriter, TargetFacts
from router.telemetry.tracer import Tracer, Untraced

_PORTS = {"https": 443, "http": 80}
SCOPE = "embedway.router"


def make_tracer(
    settings: Settings, environment: Mapping[str, str], clock: Clock, log: Log
) -> Tracer | Untraced:
    """What records the requests of a router; ConfigurationError. Needs a running event loop."""
    traces = settings.telemetry.traces
    if not traces.enabled:
        return Untraced()
    sampler = Sampler(
        traces.sample_ratio,
        traces.slow_ms / 1000,
        traces.always_per_s,
        clock,
        trusts_parent=traces.trust_parent,
    )
    writer = SpanWriter(traces.conventions, clock)
    exporter = _exporter(settings.telemetry, environment, clock, log)
    return Tracer(sampler, writer, exporter, _shelf(settings, log), clock, log)


def shelf_folder(state: Path) -> Path:
    """Where the traces of routers with that state folder are."""
    return state / "traces"


def resource(telemetry: TelemetrySettings) -> dict[str, Value]:
    """Who tells all this: the attributes of OpenTelemetry's resource."""
    return {
        names.SERVICE_NAME: telemetry.service_name,
        names.SERVICE_VERSION: __version__,
        names.SERVICE_INSTANCE_ID: secrets.token_hex(8),
    }


def collector(telemetry: TelemetrySettings, environment: Mapping[str, str]) -> Collector | None:
    """Where telemetry is sent to, or None; ConfigurationError where a secret is missing."""
    otlp = telemetry.otlp
    if otlp.endpoint is None:
        return None
    headers = secret_headers("telemetry.otlp.headers", otlp.headers, environment)
    return Collector(otlp.endpoint, headers, otlp.timeout_s)


def target_facts(settings: Settings) -> dict[str, TargetFacts]:
    """What spans say of each target."""
    profiles = profiles_of(settings.profiles)
    return {name: _facts(settings, target, profiles) for name, target in settings.targets.items()}


def _facts(
    settings: Settings, target: TargetSettings, profiles: Mapping[str, ProfileSettings]
) -> TargetFacts:
    profile = profiles[target.profile_name] if target.is_provider else ProfileSettings()
    url = urlsplit(target.url or profile.url or "")
    return TargetFacts(
        # Who speaks an API without being known by name goes under the API's.
        provider=target.profile or target.upstream,
        model=target.model or target.space,
        space=target.space,
        dimensions=settings.spaces[target.space].dimensions,
        address=url.hostname,
        port=url.port or _PORTS.get(url.scheme),
        encoding=profile.encoding_format or "float",
    )


def _exporter(
    telemetry: TelemetrySettings, environment: Mapping[str, str], clock: Clock, log: Log
) -> SpanExporter | None:
    there = collector(telemetry, environment)
    if there is None:
        return None
    return SpanExporter(
        there,
        Envelope(resource(telemetry), SCOPE, __version__),
        clock,
        log,
        queue_bytes=telemetry.traces.queue_bytes,
        interval_s=telemetry.traces.interval_s,
        flush_timeout_s=telemetry.traces.flush_timeout_s,
    )


def _shelf(settings: Settings, log: Log) -> TraceShelf | None:
    most = settings.telemetry.traces.local_bytes
    if most == 0:
        return None
    try:
        return TraceShelf(shelf_folder(settings.store.state), most, settings.server.workers)
    except OSError as error:
        # Nothing but `embedway trace` needs it.
        log.event("trace_shelf", writable=False, reason=error.strerror)
        return None
