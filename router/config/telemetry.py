"""Where traces, metrics and logs go, and how much of them."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from router.config.section import SecretSettings, Section


class OtlpSettings(Section):
    """An OpenTelemetry collector that is spoken to by OTLP over HTTP."""

    endpoint: str | None = Field(None, pattern=r"^https?://[^\s?#]+$")
    """Base address, such as http://127.0.0.1:4318; null exports nothing."""
    headers: dict[str, SecretSettings] = {}
    """Headers of each export, such as Authorization, by where their values are kept."""
    timeout_s: float = Field(10.0, gt=0, le=60)
    """Seconds that one export may take."""


class TraceSettings(Section):
    """Which requests' traces are kept, where, and how much of them may wait."""

    enabled: bool = True
    """Whether requests are traced at all."""
    sample_ratio: float = Field(0.1, ge=0, le=1)
    """Share of requests whose traces are kept by chance, and whose targets are told of them."""
    trust_parent: bool = True
    """Whether the sampled flag of a caller's `traceparent` decides instead of chance."""
    slow_ms: float = Field(1000.0, gt=0)
    """Milliseconds from which a request is slow: its trace is kept, as those of errors, fallbacks
    and refusals are, whatever chance says."""
    always_per_s: int = Field(100, ge=0)
    """Traces a second that are kept for such reasons, so that an outage floods nobody."""
    propagate_to_providers: bool = False
    """Whether providers are sent the `traceparent` of sampled requests; Tritons always are."""
    conventions: Literal["latest", "1.36"] = "latest"
    """Edition of OpenTelemetry's GenAI conventions that spans are named by."""
    queue_bytes: int = Field(8 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of spans that may wait for the collector; more are dropped and counted."""
    interval_s: float = Field(1.0, gt=0, le=60)
    """Seconds between exports."""
    flush_timeout_s: float = Field(5.0, ge=0, le=60)
    """Seconds that the last export may take at shutdown."""
    local_bytes: int = Field(16 * 1024 * 1024, ge=0)
    """Bytes of kept traces on this machine's disk (in `store.state`, for each worker), for
    `embedway trace`; 0 keeps none."""


class MetricSettings(Section):
    """How much metrics tell, and how often."""

    max_tenants: int = Field(100, ge=0, le=100_000)
    """Tenants that are told of one by one, those of this file first; the rest is `other`."""
    max_series: int = Field(50_000, ge=1000, le=10_000_000)
    """Series of a worker process; beyond it a metric's further series are one, named `other`."""
    export_interval_s: float = Field(15.0, ge=0.1, le=3600)
    """Seconds between two exports by OTLP."""
    certificates: list[Path] = []
    """PEM files of certificates in front of the router, whose expiry is told."""


class TelemetrySettings(Section):
    """Where traces, metrics and logs go, and how much of them."""

    service_name: str = "embedway-router"
    """OpenTelemetry's `service.name` of this router."""
    otlp: OtlpSettings = OtlpSettings()
    """The collector that traces and metrics are sent to."""
    traces: TraceSettings = TraceSettings()
    """Which requests' traces are kept, where, and how much of them may wait."""
    metrics: MetricSettings = MetricSettings()
    """How much metrics tell, and how often."""
