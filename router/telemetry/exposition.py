"""Metrics as text: Prometheus's format 0.0.4, and OpenMetrics 1.0 with exemplars.

Sources: "Exposition formats" of Prometheus; OpenMetrics 1.0.0.
"""

from collections.abc import Iterator, Sequence

from router.telemetry.merging import Exemplar, FamilyPoints, Point
from router.telemetry.metric import Metric, prometheus_name

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_OPEN_METRICS_TYPE = "application/openmetrics-text"


def wants_open_metrics(accept: str) -> bool:
    """Whether an `Accept` header prefers OpenMetrics to plain text."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            weights[kind.lower()] = float(weight)
        except ValueError:
            continue
    asked = weights.get(_OPEN_METRICS_TYPE, 0.0)
    return asked > 0 and asked >= weights.get("text/plain", 0.0)


def exposition(families: Sequence[FamilyPoints], *, open_metrics: bool) -> bytes:
    """The whole text."""
    lines = [line for family in families for line in _family(family, open_metrics)]
    if open_metrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def _family(family: FamilyPoints, open_metrics: bool) -> Iterator[str]:
    metric = family.metric
    # OpenMetrics names a counter's family without the suffix of its samples.
    name = metric.family if open_metrics else metric.sample
    meaning = metric.meaning.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {metric.kind}"
    names = [prometheus_name(label) for label in metric.labels]
    for point in family.points:
        labels = _labels(names, point.labels)
        if metric.kind == "histogram":
            yield from _histogram(metric, point, labels, with_exemplars=open_metrics)
        else:
            yield f"{metric.sample}{_braced(labels)} {_number(point.value)}"


def _histogram(metric: Metric, point: Point, labels: str, *, with_exemplars: bool) -> Iterator[str]:
    name, total = metric.sample, 0.0
    bounds = [*map(repr, metric.bounds), "+Inf"]
    exemplars = point.exemplars or [None] * len(bounds)
    comma = "," if labels else ""
    for bound, count, exemplar in zip(bounds, point.counts, exemplars, strict=True):
        total += count
        line = f'{name}_bucket{{{labels}{comma}le="{bound}"}} {_number(total)}'
        yield line + (_exemplar(exemplar) if with_exemplars else "")
    yield f"{name}_sum{_braced(labels)} {_number(point.value)}"
    yield f"{name}_count{_braced(labels)} {_number(total)}"


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    told = f"{_number(exemplar.value)} {exemplar.wall_s:.3f}"
    return f' # {{trace_id="{exemplar.trace_id}"}} {told}'


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    """An empty value is a label that is not there."""
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs if value)


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
