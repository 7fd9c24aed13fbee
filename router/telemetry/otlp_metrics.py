"""Metrics as an OTLP request, in protobuf: some collectors lose histograms that come as JSON.

Source: opentelemetry-proto 1.x, metrics/v1/metrics.proto.
"""

from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from router.telemetry.merging import FamilyPoints, Point
from router.telemetry.metric import Metric

_CUMULATIVE = otlp.AGGREGATION_TEMPORALITY_CUMULATIVE
# Start and end of what is counted, in nanoseconds since the Unix epoch.
_Times = tuple[int, int]


def export_request(
    families: Sequence[FamilyPoints],
    resource: Mapping[str, str],
    version: str,
    start_s: float,
    now_s: float,
) -> bytes:
    """The body of a POST to /v1/metrics; times are seconds since the Unix epoch."""
    times = (_nanoseconds(start_s), _nanoseconds(now_s))
    scope = otlp.ScopeMetrics(
        scope=InstrumentationScope(name="embedway", version=version),
        metrics=[_metric(family, times) for family in families],
    )
    about = Resource(attributes=_attributes(resource.items()))
    told = otlp.ResourceMetrics(resource=about, scope_metrics=[scope])
    return ExportMetricsServiceRequest(resource_metrics=[told]).SerializeToString()


def _metric(family: FamilyPoints, times: _Times) -> otlp.Metric:
    metric = family.metric
    told = otlp.Metric(name=metric.name, description=metric.meaning, unit=metric.unit or "1")
    if metric.kind == "histogram":
        told.histogram.aggregation_temporality = _CUMULATIVE
        told.histogram.data_points.extend(_histogram(metric, p, times) for p in family.points)
        return told
    points = [_number(metric, point, times) for point in family.points]
    if metric.kind == "gauge":
        told.gauge.data_points.extend(points)
    else:
        told.sum.aggregation_temporality = _CUMULATIVE
        told.sum.is_monotonic = True
        told.sum.data_points.extend(points)
    return told


def _number(metric: Metric, point: Point, times: _Times) -> otlp.NumberDataPoint:
    return otlp.NumberDataPoint(
        attributes=_attributes(zip(metric.labels, point.labels, strict=True)),
        start_time_unix_nano=times[0],
        time_unix_nano=times[1],
        as_double=point.value,
    )


def _histogram(metric: Metric, point: Point, times: _Times) -> otlp.HistogramDataPoint:
    return otlp.HistogramDataPoint(
        attributes=_attributes(zip(metric.labels, point.labels, strict=True)),
        start_time_unix_nano=times[0],
        time_unix_nano=times[1],
        count=int(sum(point.counts)),
        sum=point.value,
        bucket_counts=[int(count) for count in point.counts],
        explicit_bounds=metric.bounds,
        exemplars=[
            otlp.Exemplar(
                time_unix_nano=_nanoseconds(one.wall_s),
                as_double=one.value,
                trace_id=bytes.fromhex(one.trace_id),
            )
            for one in point.exemplars
            if one is not None
        ],
    )


def _attributes(pairs: Iterable[tuple[str, str]]) -> list[KeyValue]:
    """An empty value is an attribute that is not there."""
    return [
        KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in pairs if value
    ]


def _nanoseconds(moment_s: float) -> int:
    return int(moment_s * 1e9)
