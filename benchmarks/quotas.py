"""`make bench-quotas`: what metering adds to a request, with 1, 1,000 and 320,000 tenants.

Each tenant has a budget in USD and a limit of requests a minute, in one PostgreSQL. What is
measured is the router's own `Meter`, reserving and settling, with its spool on disk and its ledger
written behind on other threads of the same process: CPU time counts them all. "Warm" draws from
the tenants in memory, each of which holds its leases; "cold" is a tenant's first request, with the
queries for its quotas and its first leases.
"""

import argparse
import asyncio
import gc
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text

from benchmarks.report import machine
from router.domain.clock import SystemClock
from router.domain.quotas import Quota
from router.domain.types import Caller, Route, Space
from router.metering.desk import Desk
from router.metering.keeper import Keeper
from router.metering.meter import Meter
from router.metering.plans import Plans
from router.metering.pump import Pump
from router.metering.reservation import Asked, Outcome
from router.store.engine import open_engine
from router.store.leases import LeaseBook
from router.store.ledger import Ledger
from router.store.quotas import StoredQuotas
from router.store.spool import Spool
from router.store.spool_folder import SpoolFolder
from tests.support.postgres import Postgres

_TENANTS = (1, 1_000, 320_000)
# Of 320,000 tenants so many are in memory at a time; the rest are cold.
_WARM = 10_000
_CALLS = 30_000
_ROUNDS = 3
_COLD = 400
_ADDED_BAR_US = 30.0
_FLAT_BAR = 1.5
_LIMIT = 10**15
_ROUTE = Route("bench", Space("bench", "bench", 8, 64), ("target",))


@dataclass(slots=True)
class Figures:
    """What was found with so many tenants; times in µs or ms as named."""

    tenants: int
    in_memory: int = 0
    wall_us: float = 0.0
    cpu_us: float = 0.0
    behind_us: float = 0.0
    cold_p50_ms: float = 0.0
    cold_p99_ms: float = 0.0


class Bench:
    """Metering as `App` builds it, without a router around it."""

    def __init__(self, engine: Engine, state: Path) -> None:
        clock = SystemClock()
        self.spool = Spool(SpoolFolder.made(state))
        self.desk = Desk(LeaseBook(engine, self.spool.holder), clock)
        self.plans = Plans({}, StoredQuotas(engine), self.desk, clock)
        self.pump = Pump(self.spool, Ledger(engine), clock, sync_interval_s=1.0)
        self.keeper = Keeper(self.plans.active, self.desk, clock)
        self.meter = Meter(self.plans, self.spool, {"target": 20_000_000}, clock)

    async def request(self, tenant: int) -> None:
        """Reserve and settle one request of 12 tokens."""
        asked = Asked(Caller(f"t{tenant}", "k"), _ROUTE, 1, "0123456789abcdef", "")
        reservation = await self.meter.reserve(asked, 12)
        reservation.settle(Outcome("target", 12, 0, {"target": 12}, 1))

    def close(self) -> None:
        """Leave the database and the folder to be deleted."""
        self.desk.close()
        self.pump.close()
        self.spool.close(remove=False)


def main() -> int:
    """Measure and print; with --check, 1 where a bar is not met."""
    parser = argparse.ArgumentParser("make bench-quotas", description="Measure metering.")
    parser.add_argument("--check", action="store_true", help="exit 1 where a bar is not met")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        postgres = Postgres(Path(folder) / "postgres")
        try:
            results = [
                uvloop.run(_measured(postgres.upgraded(), Path(folder) / str(tenants), tenants))
                for tenants in _TENANTS
            ]
        finally:
            postgres.close()
    is_met = _print(results)
    return 1 if options.check and not is_met else 0


async def _measured(url: str, state: Path, tenants: int) -> Figures:
    engine = open_engine(url)
    _fill(engine, tenants)
    bench, found = Bench(engine, state), Figures(tenants)
    warm = range(min(tenants, _WARM))
    for first in range(0, len(warm), 500):
        await asyncio.gather(*(bench.request(n) for n in warm[first : first + 500]))
    await bench.pump.tick()
    found.in_memory = len(warm)
    samples = [await _round(bench, warm) for _ in range(_ROUNDS)]
    found.wall_us = statistics.median(wall for wall, _, _ in samples)
    found.cpu_us = statistics.median(cpu for _, cpu, _ in samples)
    found.behind_us = statistics.median(behind for _, _, behind in samples)
    await _cold(bench, found, range(len(warm), tenants))
    bench.close()
    engine.dispose()
    return found


async def _round(bench: Bench, warm: range) -> tuple[float, float, float]:
    """µs a request: wall time, CPU time of it, and CPU time of writing it behind."""
    tenants = random.Random(3).choices(warm, k=_CALLS)
    # Warm again: leases that were left alone went back.
    for first in range(0, len(warm), 500):
        await asyncio.gather(*(bench.request(n) for n in warm[first : first + 500]))
    gc.collect()
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    for tenant in tenants:
        await bench.request(tenant)
    wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    begun_cpu_s = time.process_time()
    await bench.pump.tick()
    await bench.keeper.tick()
    behind_s = time.process_time() - begun_cpu_s
    return wall_s * 1e6 / _CALLS, cpu_s * 1e6 / _CALLS, behind_s * 1e6 / _CALLS


async def _cold(bench: Bench, found: Figures, cold: Sequence[int]) -> None:
    latencies_ms = []
    for tenant in random.Random(5).sample(cold, min(_COLD, len(cold))):
        begun_s = time.perf_counter()
        await bench.request(tenant)
        latencies_ms.append((time.perf_counter() - begun_s) * 1000)
    if len(latencies_ms) > 1:
        latencies_ms.sort()
        found.cold_p50_ms = statistics.median(latencies_ms)
        found.cold_p99_ms = latencies_ms[int(len(latencies_ms) * 0.99)]


def _fill(engine: Engine, tenants: int) -> None:
    """Two quotas a tenant, made by the database itself."""
    money = Quota("tenant", "x", "usd", _LIMIT, "month")
    rate = Quota("tenant", "x", "requests", _LIMIT, "minute")
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for quota in (money, rate):
            connection.execute(
                text(
                    'INSERT INTO quotas (id, scope, subject, unit, limit_amount, "window", mode,'
                    " changed_s) SELECT 'tenant:t' || n || :rest, 'tenant', 't' || n, :unit, :most,"
                    " :name, 'hard', 0 FROM generate_series(0, :last) AS n"
                ),
                {
                    "rest": f":{quota.unit}:{quota.window}:{quota.mode}",
                    "unit": quota.unit,
                    "most": quota.limit,
                    "name": quota.window,
                    "last": tenants - 1,
                },
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE quotas"))


def _print(results: list[Figures]) -> bool:
    table = Table(box=box.SIMPLE_HEAD, title=f"metering of one request; {machine()}")
    for name in ("tenants", "in memory", "decisions/s", "wall µs", "CPU µs", "behind CPU µs",
                 "cold p50 ms", "cold p99 ms"):  # fmt: skip
        table.add_column(name, justify="right")
    for one in results:
        cold = (
            (f"{one.cold_p50_ms:.2f}", f"{one.cold_p99_ms:.2f}") if one.cold_p50_ms else ("-",) * 2
        )
        table.add_row(
            f"{one.tenants:,}", f"{one.in_memory:,}", f"{1e6 / one.wall_us:,.0f}",
            f"{one.wall_us:.1f}", f"{one.cpu_us:.1f}", f"{one.behind_us:.1f}", *cold,
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    added = max(one.cpu_us + one.behind_us for one in results)
    ratio = results[-1].cpu_us / results[0].cpu_us
    bars = {
        f"added CPU a request {added:.1f} µs (bar: {_ADDED_BAR_US:.0f})": added <= _ADDED_BAR_US,
        f"320,000 tenants cost {ratio:.2f} times one (bar: {_FLAT_BAR})": ratio <= _FLAT_BAR,
    }
    for sentence, is_met in bars.items():
        Console().print(f"{'met' if is_met else 'NOT MET'}: {sentence}")
    return all(bars.values())


if __name__ == "__main__":
    sys.exit(main())
