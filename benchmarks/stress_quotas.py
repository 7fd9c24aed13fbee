"""`make stress-quotas`: tries by force to overspend a budget, or to lose money of it.

Router processes share one PostgreSQL and one small budget. While clients ask for more than it
covers, a process is killed (`kill -9`) every second, and PostgreSQL is stopped and started again.
Then everything is put to rest and the books are compared: quotas, ledger, and what clients saw.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import Progress

from benchmarks.stress.audit import Audit, audit
from benchmarks.stress.clients import Clients
from benchmarks.stress.routers import Fleet, Plan, tokenizer_folder
from tests.support.postgres import Postgres

_KILL_EVERY_S = 1.0
_OUTAGE_S = 2.0


def main() -> int:
    """Run, print what was found, and exit 1 where the books do not agree."""
    parser = argparse.ArgumentParser("make stress-quotas", description="Try to break a budget.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long clients ask")
    parser.add_argument("--processes", type=int, default=4, help="router processes")
    parser.add_argument("--clients", type=int, default=64, help="requests under way at once")
    parser.add_argument("--requests", type=int, default=6000, help="about what the budget covers")
    options = parser.parse_args()
    plan = Plan(options.processes, options.clients, options.requests, options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(stress(plan, Path(folder), sys.stderr.isatty()))
    found.print(Console())
    return 0 if found.is_clean else 1


async def stress(plan: Plan, folder: Path, is_shown: bool = False) -> Audit:
    """The whole of it, in a folder of its own."""
    postgres = await asyncio.to_thread(Postgres, folder / "postgres")
    try:
        url = await asyncio.to_thread(postgres.upgraded)
        fleet = Fleet(plan, folder, url, await tokenizer_folder())
        async with fleet:
            clients = Clients(plan, fleet.ports)
            await clients.ask_for_all_there_is()
            await _under_fire(plan, fleet, clients, postgres, is_shown)
            await fleet.rest()
        return await asyncio.to_thread(audit, url, clients, fleet.kills)
    finally:
        await asyncio.to_thread(postgres.close)


async def _under_fire(
    plan: Plan, fleet: Fleet, clients: Clients, postgres: Postgres, is_shown: bool
) -> None:
    chaos = [asyncio.create_task(_kill(fleet)), asyncio.create_task(_stop_database(plan, postgres))]
    shown = asyncio.create_task(_show(clients, plan.seconds, is_shown))
    try:
        await clients.ask_for(plan.seconds)
        await chaos[1]
    finally:
        chaos[0].cancel()
        shown.cancel()
        await asyncio.gather(chaos[0], shown, return_exceptions=True)


async def _kill(fleet: Fleet) -> None:
    for number in itertools.cycle(range(len(fleet.ports))):
        await asyncio.sleep(_KILL_EVERY_S)
        await fleet.kill(number)


async def _stop_database(plan: Plan, postgres: Postgres) -> None:
    await asyncio.sleep(plan.seconds / 3)
    await asyncio.to_thread(postgres.stop)
    await asyncio.sleep(_OUTAGE_S)
    await asyncio.to_thread(postgres.start)


async def _show(clients: Clients, seconds: float, is_shown: bool) -> None:
    with Progress(console=Console(stderr=True), disable=not is_shown) as progress:
        task = progress.add_task("under fire", total=seconds)
        while True:
            await asyncio.sleep(0.5)
            progress.update(task, advance=0.5, description=clients.summary())


if __name__ == "__main__":
    sys.exit(main())
