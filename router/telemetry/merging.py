"""What all workers counted together, each number by its metric's rule."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from router.telemetry.metric import EXEMPLAR_SLOTS, Metric
from router.telemetry.metric_names import CATALOGUE
from router.telemetry.registry import Labels, Registry


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One value of a bucket, its time in seconds since the Unix epoch, and its trace (32 hex)."""

    value: float
    wall_s: float
    trace_id: str


@dataclass(slots=True)
class Point:
    """A series as it is told: `value` of counters and gauges, counts by bucket of histograms."""

    labels: Labels
    value: float = 0.0
    counts: list[float] = field(default_factory=list)
    exemplars: list[Exemplar | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FamilyPoints:
    """A metric and its series, in the order of their labels."""

    metric: Metric
    points: list[Point]


def merged(registry: Registry, *, alone: bool = False) -> list[FamilyPoints]:
    """Every metric that has a series; `alone` leaves other workers out."""
    found: dict[str, dict[Labels, list[Sequence[float]]]] = {}
    for row, numbers in registry.numbers():
        found.setdefault(row.name, {}).setdefault(row.labels, []).append(numbers.tolist())
    kinds = {metric.name: metric.kind for metric in CATALOGUE}
    for other in registry.cells.others() if not alone else ():
        for row in other.rows:
            if kinds.get(row.name) == "gauge" and not other.is_alive:
                continue
            part = other.values[row.start : row.start + row.slots].tolist()
            found.setdefault(row.name, {}).setdefault(row.labels, []).append(part)
    families = []
    points: dict[str, list[Point]] = {}
    for metric in CATALOGUE:
        if metric.numerator is not None and metric.denominator is not None:
            made = _quotients(
                points.get(metric.numerator.name, []), points.get(metric.denominator.name, [])
            )
        else:
            series = found.get(metric.name, {})
            made = [
                point
                for labels in sorted(series)
                if (point := _point(metric, labels, series[labels])) is not None
            ]
        points[metric.name] = made
        if made:
            families.append(FamilyPoints(metric, made))
    return families


def _point(metric: Metric, labels: Labels, parts: list[Sequence[float]]) -> Point | None:
    if metric.kind == "counter":
        return Point(labels, sum(part[0] for part in parts) * metric.scale)
    if metric.kind == "gauge":
        values = [part[0] for part in parts if not math.isnan(part[0])]
        return Point(labels, _one(metric, values)) if values else None
    buckets = len(metric.bounds) + 1
    counts = [sum(part[bucket] for part in parts) for bucket in range(buckets)]
    exemplars: list[Exemplar | None] = []
    if metric.exemplars:
        exemplars = [_newest(parts, buckets + 1 + b * EXEMPLAR_SLOTS) for b in range(buckets)]
    return Point(labels, sum(part[buckets] for part in parts), counts, exemplars)


def _one(metric: Metric, values: list[float]) -> float:
    if metric.merge == "max":
        return max(values)
    if metric.merge == "min":
        return min(values)
    return sum(values) / len(values) if metric.merge == "mean" else sum(values)


def _newest(parts: Iterable[Sequence[float]], place: int) -> Exemplar | None:
    part = max(parts, key=lambda one: one[place + 1])
    if not part[place + 1]:
        return None
    words = memoryview(bytearray(16)).cast("d")
    words[0], words[1] = part[place + 2], part[place + 3]
    return Exemplar(part[place], part[place + 1], words.tobytes().hex())


def _quotients(numerators: list[Point], denominators: list[Point]) -> list[Point]:
    """Nothing by anything is 0; something by nothing known is not told."""
    by_labels = {point.labels: point.value for point in denominators}
    made = []
    for point in numerators:
        divisor = by_labels.get(point.labels, 0.0)
        if point.value == 0 or divisor > 0:
            made.append(Point(point.labels, point.value / divisor if divisor else 0.0))
    return made
