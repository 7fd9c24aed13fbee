"""`embedway verify`: every target held against the reference of its space, once."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from router.config.settings import Settings
from router.dispatch import references
from router.dispatch.prober import WatchedSpace
from router.domain.clock import Clock
from router.domain.errors import ConfigurationError, EmbedwayError
from router.fleet import Fleet
from router.routing.targets import Standing
from router.tools.fleet import standing_fleet

_TITLES = ("space", "target", "standing", "least cosine", "rank agreement", "norm error")


async def verify(
    settings: Settings,
    environment: Mapping[str, str],
    clock: Clock,
    console: Console,
    write: tuple[str, Path] | None,
) -> bool:
    """Print a table; whether every target may serve. `write` is (space, file) of a reference."""
    async with standing_fleet(settings, environment, clock) as fleet:
        if write is not None:
            await _write(fleet, *write)
            console.print(f"{write[1]}: written")
        table = Table(box=None, pad_edge=False)
        for title in _TITLES:
            table.add_column(title)
        rows = [await _row(fleet, one, name) for one in fleet.watched for name in one.targets]
        for row in rows:
            table.add_row(*row)
        for name, state in fleet.states.items():
            if not any(name in one.targets for one in fleet.watched):
                space = settings.targets[name].space
                table.add_row(space, name, f"{state.standing.value}: not compared", "", "", "")
        console.print(table)
        return all(state.standing is Standing.VERIFIED for state in fleet.states.values())


async def _row(fleet: Fleet, watched: WatchedSpace, name: str) -> tuple[str, ...]:
    space = watched.space.name
    try:
        found = await fleet.prober.probe(watched, name)
    except EmbedwayError as error:
        fleet.states[name].standing = Standing.UNVERIFIED
        return space, name, f"unverified: {error}", "", "", ""
    standing, fault = fleet.states[name].standing.value, fleet.prober.records[name].fault
    if name == watched.reference and watched.known is None:
        standing += " (the reference)"
    return (
        space,
        name,
        standing if fault is None else f"{standing}: {fault}",
        f"{found.least_cosine:.5f}",
        f"{found.rank_agreement:.4f}",
        f"{found.norm_error:.1e}",
    )


async def _write(fleet: Fleet, space: str, path: Path) -> None:
    for watched in fleet.watched:
        if watched.space.name == space:
            vectors = await fleet.prober.golden_vectors(watched, watched.reference)
            references.save(path, watched.batches, vectors)
            return
    raise ConfigurationError(f"{space}: there is no such space, or nothing to compare in it")
