"""`embedway compare`: every target of a route measured live, side by side."""

import asyncio
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from router.config.settings import Settings
from router.dispatch.prober import WatchedSpace
from router.domain.clock import Clock
from router.domain.errors import EmbedwayError, UnknownModelError
from router.domain.types import Space, TokenBatch
from router.fleet import Fleet
from router.routing.splitting import split
from router.text.golden import golden_batches
from router.tools.fleet import standing_fleet
from router.vectors.checks import require_contract

_CALL_TIMEOUT_S = 30.0
_TEXTS_A_CALL = 4
_TITLES = (
    "target", "USD per 1M", "p50 ms", "p99 ms", "tokens/s", "available", "least cosine", "rank",
)  # fmt: skip


@dataclass(slots=True)
class Figures:
    """What one target did: latencies in ms, tokens, failures by code."""

    latencies_ms: list[float] = field(default_factory=list)
    tokens: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


async def compare(
    settings: Settings,
    environment: Mapping[str, str],
    clock: Clock,
    console: Console,
    model: str,
    seconds: float,
    concurrency: int,
) -> bool:
    """Measure each target of the route in turn and print the table; whether all answered."""
    if model not in settings.routes:
        raise UnknownModelError(f"there is no route {model!r}")
    table = new_table()
    answered = True
    async with standing_fleet(settings, environment, clock) as fleet:
        for name in settings.routes[model].targets:
            with console.status(f"{name}: {seconds:g} s, {concurrency} calls at a time"):
                figures = await _measured(fleet, name, clock, seconds, concurrency)
                agreement = await _agreement(fleet, name)
            table.add_row(*_row(fleet, name, figures), *agreement)
            answered = answered and bool(figures.latencies_ms)
    console.print(table)
    return answered


def new_table() -> Table:
    """The table of a comparison, without rows."""
    table = Table(box=None, pad_edge=False)
    for title in _TITLES:
        table.add_column(title, justify="left" if title == "target" else "right")
    return table


async def _measured(
    fleet: Fleet, name: str, clock: Clock, seconds: float, concurrency: int
) -> Figures:
    space = fleet.space_of(name)
    batch = golden_batches(space, fleet.tokenizers[space.name])[0]
    parts = [part.batch for part in split(batch, _TEXTS_A_CALL, None)]
    figures, began_s = Figures(), clock.monotonic_s()
    until_s = began_s + seconds

    async def worker(start: int) -> None:
        number = start
        while clock.monotonic_s() < until_s:
            await _call(fleet, name, space, parts[number % len(parts)], figures, clock)
            number += 1

    await asyncio.gather(*map(worker, range(concurrency)))
    figures.seconds = clock.monotonic_s() - began_s
    return figures


async def _call(
    fleet: Fleet, name: str, space: Space, batch: TokenBatch, figures: Figures, clock: Clock
) -> None:
    began_s = clock.monotonic_s()
    try:
        vectors = await fleet.upstreams[name].embed(batch, _CALL_TIMEOUT_S)
        require_contract(vectors, batch.count, space.dimensions)
    except EmbedwayError as error:
        figures.failures[error.code] = figures.failures.get(error.code, 0) + 1
        # A target that refuses at once would be asked a thousand times a second.
        await asyncio.sleep(0.2)
    else:
        figures.latencies_ms.append((clock.monotonic_s() - began_s) * 1000)
        figures.tokens += batch.total


async def _agreement(fleet: Fleet, name: str) -> tuple[str, str]:
    watched = _watched(fleet, name)
    if watched is None:
        return "-", "-"
    try:
        found = await fleet.prober.probe(watched, name)
    except EmbedwayError as error:
        return error.code, "-"
    return f"{found.least_cosine:.5f}", f"{found.rank_agreement:.4f}"


def _watched(fleet: Fleet, name: str) -> WatchedSpace | None:
    return next((one for one in fleet.watched if name in one.targets), None)


def _row(fleet: Fleet, name: str, figures: Figures) -> tuple[str, ...]:
    price = fleet.states[name].limits.price_usd
    failed = sum(figures.failures.values())
    calls = len(figures.latencies_ms) + failed
    available = f"{100 * len(figures.latencies_ms) / calls:.2f} %" if calls else "-"
    if figures.failures:
        available += " (" + ", ".join(sorted(figures.failures)) + ")"
    if len(figures.latencies_ms) < 2:
        return name, "?" if price is None else f"{price:g}", "-", "-", "-", available
    cuts = statistics.quantiles(figures.latencies_ms, n=100, method="inclusive")
    return (
        name,
        "?" if price is None else f"{price:g}",
        f"{cuts[49]:.1f}",
        f"{cuts[98]:.1f}",
        f"{figures.tokens / figures.seconds:,.0f}",
        available,
    )
