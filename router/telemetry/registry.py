"""Every series of this process, by metric and label values; bounded in number."""

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from router.telemetry.cells import Cells, Row
from router.telemetry.metric import Floats, Metric
from router.telemetry.metric_names import CATALOGUE, DROPPED
from router.telemetry.series import Counter, Gauge, Histogram

S = TypeVar("S", Counter, Gauge, Histogram)
# What stands in every label of what came after `max_series`.
OTHER = "other"
# Names that a family remembers: beyond the bound on series many names share one.
_MOST_NAMES = 100_000
Labels = tuple[str, ...]


def schema_of(metrics: tuple[Metric, ...] = CATALOGUE) -> str:
    """Names how numbers are laid out: files of another release are not gone on with."""
    parts = [(metric.name, metric.labels, metric.bounds, metric.slots) for metric in metrics]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Family(Generic[S]):
    """The series of one metric."""

    __slots__ = ("_make", "_series", "metric")

    def __init__(self, metric: Metric, make: Callable[[Metric, Labels], S]) -> None:
        self.metric = metric
        self._make: Callable[[Metric, Labels], S] = make
        self._series: dict[Labels, S] = {}

    def of(self, *labels: str) -> S:
        """The series of these label values; a new one, or that of all others beyond the bound."""
        found = self._series.get(labels)
        if found is None:
            found = self._make(self.metric, labels)
            if len(self._series) < _MOST_NAMES:
                self._series[labels] = found
        return found


class Registry:
    """Hands out series in cells. Belongs to the event loop's thread."""

    def __init__(self, cells: Cells, max_series: int) -> None:
        """Series over `max_series` become one of each metric, and are counted as dropped."""
        self.cells = cells
        self._max_series = max_series
        self._rows: dict[tuple[str, Labels], Row] = {
            (row.name, row.labels): row for row in cells.rows
        }
        self._series: dict[tuple[str, Labels], Counter | Gauge | Histogram] = {}
        self._forget_gauges()
        self._dropped = self.counter(DROPPED).of("metrics")

    def counter(self, metric: Metric) -> Family[Counter]:
        """The counters of a metric."""
        return Family(metric, self._counter)

    def gauge(self, metric: Metric) -> Family[Gauge]:
        """The gauges of a metric."""
        return Family(metric, self._gauge)

    def histogram(self, metric: Metric) -> Family[Histogram]:
        """The histograms of a metric."""
        return Family(metric, self._histogram)

    def numbers(self) -> Iterator[tuple[Row, Floats]]:
        """Each series with its numbers, as they stand at this moment; any thread may ask."""
        for row in list(self.cells.rows):
            cells, place = self.cells.place(row)
            yield row, cells[place : place + row.slots]

    def _counter(self, metric: Metric, labels: Labels) -> Counter:
        made = self._found(metric, labels, Counter)
        assert isinstance(made, Counter)
        return made

    def _gauge(self, metric: Metric, labels: Labels) -> Gauge:
        made = self._found(metric, labels, Gauge)
        assert isinstance(made, Gauge)
        return made

    def _histogram(self, metric: Metric, labels: Labels) -> Histogram:
        made = self._found(
            metric,
            labels,
            lambda cells, place: Histogram(cells, place, metric.bounds, exemplars=metric.exemplars),
        )
        assert isinstance(made, Histogram)
        return made

    def _found(
        self,
        metric: Metric,
        labels: Labels,
        make: Callable[[Floats, int], Counter | Gauge | Histogram],
    ) -> Counter | Gauge | Histogram:
        """The one series of that name; a family may be asked for in many places."""
        row = self._rows.get((metric.name, labels))
        if row is None:
            if len(self._rows) >= self._max_series and labels and set(labels) != {OTHER}:
                self._dropped.add()
                return self._found(metric, (OTHER,) * len(labels), make)
            row = self.cells.add(metric.name, labels, metric.slots)
            self._rows[metric.name, labels] = row
        key = (metric.name, labels)
        if key not in self._series:
            self._series[key] = make(*self.cells.place(row))
        return self._series[key]

    def _forget_gauges(self) -> None:
        """What the process before this one last saw is not so any more."""
        gauges = {metric.name for metric in CATALOGUE if metric.kind == "gauge"}
        for row in self.cells.rows:
            if row.name in gauges:
                cells, place = self.cells.place(row)
                cells[place] = math.nan
