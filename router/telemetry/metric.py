"""What a metric is: its name in OpenTelemetry and in Prometheus, its unit, labels and merging."""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

# Mapped memory, as float64.
Floats: TypeAlias = "memoryview[float]"
Kind = Literal["counter", "gauge", "histogram"]
# How one gauge of several worker processes becomes one figure.
Merge = Literal["sum", "max", "min", "mean"]

# Units (UCUM) that Prometheus wants in the name; those in braces are what is counted.
_SUFFIXES = {"s": "_seconds", "By": "_bytes", "USD": "_usd"}
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric. `scale` is what one counted unit is worth in `unit`: nano-USD add up exactly.

    `bounds` are the upper bounds of a histogram's buckets, without +Inf. A gauge with
    `numerator` and `denominator` is their quotient, found after both were merged.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    merge: Merge = "sum"
    scale: float = 1.0
    bounds: tuple[float, ...] = ()
    exemplars: bool = False
    numerator: "Metric | None" = None
    denominator: "Metric | None" = None

    @property
    def family(self) -> str:
        """Its name in Prometheus, without the `_total` of a counter."""
        return f"{prometheus_name(self.name)}{_SUFFIXES.get(self.unit, '')}"

    @property
    def sample(self) -> str:
        """Its name in queries; of a histogram, what `_bucket`, `_sum` and `_count` follow."""
        return f"{self.family}_total" if self.kind == "counter" else self.family

    @property
    def slots(self) -> int:
        """Numbers that one series of it takes."""
        if self.kind != "histogram":
            return 1
        buckets = len(self.bounds) + 1
        return buckets + 1 + (buckets * EXEMPLAR_SLOTS if self.exemplars else 0)


# The value, its time in seconds since the Unix epoch, and the 16 bytes of a trace id.
EXEMPLAR_SLOTS = 4


def prometheus_name(name: str) -> str:
    """A metric's or label's name with only the characters that Prometheus takes."""
    return _NOT_A_NAME.sub("_", name)
