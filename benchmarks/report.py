"""Results as a table for people, as JSON for machines, and held against the bars."""

import platform
import statistics
from collections import defaultdict
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.cells import CONCURRENCIES, SHAPES, Shape
from benchmarks.load import Sample
from benchmarks.turns import Pair, typical

Cell = tuple[Shape, int]
_TO_COMPARE = (16, 64)
# Routing with many routes and targets is measured in one cell, against the router with few.
ROUTING_CELL: Cell = (Shape(1, 2560, "base64"), 16)
ONE, MANY = "router, one target a route", "router, 1,000 routes and 50 targets"
_NOTE = (
    "The target is called over gRPC by a client on its own core, one request a call; "
    "the router packs requests, and may so pass it. Ratio: router/s to pass-through/s."
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of one contender in one cell. CPU is seconds a 1000 requests."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_s: float


@dataclass(slots=True)
class Results:
    """Samples of every contender in every cell."""

    samples: dict[str, dict[Cell, list[Sample]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    # By how many requests are under way: one shape, every request sampled, exported and kept.
    traced: dict[int, list[Pair]] = field(default_factory=lambda: defaultdict(list))

    def figures(self, contender: str, cell: Cell) -> Figures:
        """Medians of what was measured."""
        rounds = self.samples[contender][cell]
        return Figures(
            rate=statistics.median(one.rate for one in rounds),
            p50_ms=statistics.median(one.percentile_ms(50) for one in rounds),
            p99_ms=statistics.median(one.percentile_ms(99) for one in rounds),
            cpu_s=statistics.median(one.cpu_s / len(one.latencies_ms) * 1000 for one in rounds),
        )

    def ratio(self, cell: Cell, upper: str = "router", lower: str = "pass-through") -> float:
        """The router's rate over the pass-through's: median of the rounds' own ratios."""
        pairs = zip(self.samples[upper][cell], self.samples[lower][cell], strict=True)
        return statistics.median(one.rate / other.rate for one, other in pairs)

    def tracing(self) -> tuple[float, float, float]:
        """CPU of a request, untraced and traced, in microseconds, and the ratio, over all loads."""
        return typical([pair for pairs in self.traced.values() for pair in pairs])

    def best_rate(self, shape: Shape) -> float:
        """The router's best rate under load."""
        return max(self.figures("router", (shape, c)).rate for c in _TO_COMPARE)


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what it must reach."""

    name: str
    measured: float
    bar: float
    at_least: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side."""
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar


def bars(results: Results) -> list[Bar]:
    """The bars that every later change has to keep."""
    one = Shape(1, 2560, "base64")
    many, floats = Shape(32, 2560, "base64"), Shape(32, 2560, "float")
    alone = (one, 1)
    added_ms = results.figures("router", alone).p50_ms - results.figures("target", alone).p50_ms
    ratio = max(results.ratio((one, concurrency)) for concurrency in _TO_COMPARE)
    return [
        Bar(f"{one.name}, requests/s", results.best_rate(one), 2500),
        Bar(f"{one.name}, ratio to the bare pass-through", ratio, 0.5),
        Bar(f"{many.name}, requests/s", results.best_rate(many), 800),
        Bar(f"{floats.name}, requests/s", results.best_rate(floats), 250),
        Bar(f"{MANY}, ratio to one", results.ratio(ROUTING_CELL, MANY, ONE), 0.9),
        Bar(
            "every request traced, CPU a request to that of none traced",
            results.tracing()[2],
            1.1,
            at_least=False,
        ),
        Bar(f"{one.name}, added p50 at concurrency 1, ms", added_ms, 1.0, at_least=False),
    ]


def print_report(results: Results, console: Console) -> None:
    """The table, then the bars; 80 columns are enough, and a file gets plain text."""
    style = box.SIMPLE_HEAD if console.is_terminal else None
    console.print(f"Router on one core, {machine()}", soft_wrap=True)
    table = Table(box=style, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in ("shape", "conc."):
        table.add_column(name, no_wrap=True)
    for name in (
        "router\n/s", "p50\nms", "p99\nms", "CPU s\n/1000",
        "target\n/s", "p50\nms", "p99\nms", "pass\n/s", "ratio",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for shape in SHAPES:
        for concurrency in CONCURRENCIES:
            table.add_row(*_row(results, shape, concurrency), end_section=concurrency == 64)
    console.print(table)
    console.print(f"{_NOTE}\n", soft_wrap=True)
    for concurrency, pairs in results.traced.items():
        untraced_us, traced_us, ratio = typical(pairs)
        line = f"{concurrency} under way: {untraced_us:.0f} us untraced, {traced_us:.0f} us traced"
        console.print(f"{line}, ratio {ratio:.3f} ({len(pairs)} pairs of turns)", soft_wrap=True)
    for bar in bars(results):
        sign = "at least" if bar.at_least else "at most"
        verdict = "met" if bar.is_met else "NOT MET"
        line = f"{bar.name}: {bar.measured:,.2f} ({sign} {bar.bar:,g}: {verdict})"
        console.print(line, soft_wrap=True)


def as_json(results: Results) -> dict[str, object]:
    """Everything that was found, without the single latencies."""
    cells = [
        {
            "shape": shape.name,
            "concurrency": concurrency,
            "contender": contender,
            **_as_dict(results.figures(contender, (shape, concurrency))),
        }
        for contender, measured in results.samples.items()
        for shape, concurrency in measured
    ]
    ratios = [
        {"shape": shape.name, "concurrency": c, "ratio": round(results.ratio((shape, c)), 3)}
        for shape in SHAPES
        for c in CONCURRENCIES
    ]
    verdicts = [
        {"name": b.name, "measured": b.measured, "bar": b.bar, "met": b.is_met}
        for b in bars(results)
    ]
    tracing = {
        concurrency: dict(zip(("untraced_us", "traced_us", "ratio"), typical(pairs), strict=True))
        for concurrency, pairs in results.traced.items()
    }
    return {
        "machine": machine(),
        "cells": cells,
        "ratios": ratios,
        "tracing": {str(concurrency): figures for concurrency, figures in tracing.items()},
        "bars": verdicts,
    }


def machine() -> str:
    """Processor, cores and Python that the figures belong to."""
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else model}, {len(names)} cores, Python {platform.python_version()}"


def _row(results: Results, shape: Shape, concurrency: int) -> list[str]:
    cell = (shape, concurrency)
    router, target = results.figures("router", cell), results.figures("target", cell)
    bare = results.figures("pass-through", cell)
    return [
        shape.name, str(concurrency),
        f"{router.rate:,.0f}", _short(router.p50_ms), _short(router.p99_ms),
        f"{router.cpu_s:.2f}",
        f"{target.rate:,.0f}", _short(target.p50_ms), _short(target.p99_ms),
        f"{bare.rate:,.0f}", f"{results.ratio(cell):.2f}",
    ]  # fmt: skip


def _short(latency_ms: float) -> str:
    return f"{latency_ms:.2f}" if latency_ms < 100 else f"{latency_ms:.0f}"


def _as_dict(figures: Figures) -> dict[str, float]:
    return {
        "requests_per_s": round(figures.rate, 1),
        "p50_ms": round(figures.p50_ms, 3),
        "p99_ms": round(figures.p99_ms, 3),
        "cpu_s_per_1000": round(figures.cpu_s, 3),
    }
