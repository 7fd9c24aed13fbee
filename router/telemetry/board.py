"""Figures that are read where they stand, again and again, instead of being reported."""

import math

from router.telemetry.metric import Metric
from router.telemetry.registry import Family, Labels, Registry
from router.telemetry.series import Counter, Gauge


class Board:
    """Gauges and counters by metric; what is not told in a round is not so any more."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._gauges: dict[Metric, Family[Gauge]] = {}
        self._counters: dict[Metric, Family[Counter]] = {}
        self._told: set[tuple[Metric, Labels]] = set()
        self._before: set[tuple[Metric, Labels]] = set()

    def tell(self, metric: Metric, value: float, *labels: str) -> None:
        """A gauge as it is now."""
        family = self._gauges.get(metric)
        if family is None:
            family = self._gauges[metric] = self._registry.gauge(metric)
        family.of(*labels).set(value)
        self._told.add((metric, labels))

    def follow(self, metric: Metric, total: float, *labels: str) -> None:
        """A counter that this process keeps elsewhere, as it stands now."""
        family = self._counters.get(metric)
        if family is None:
            family = self._counters[metric] = self._registry.counter(metric)
        family.of(*labels).follow(total)

    def turn(self) -> None:
        """End a round."""
        for metric, labels in self._before - self._told:
            self._gauges[metric].of(*labels).set(math.nan)
        self._before, self._told = self._told, set()
