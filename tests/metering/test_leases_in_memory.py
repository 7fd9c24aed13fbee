"""What requests meet: leases that suffice, that run out, that others hold, and no store."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from router.domain.clock import SystemClock
from router.domain.errors import BudgetExhaustedError, StoreUnavailableError
from router.domain.quotas import Quota
from router.metering.keeper import TICK_S
from router.metering.reservation import Outcome
from router.store.engine import open_engine
from router.store.migrate import upgrade
from tests.metering.processes import Process

# Requests wait as long as they have to for what others hold; with the machine's own half second,
# one that stands still for so long would refuse them.
PATIENCE_S = 60.0
QUOTA = Quota("tenant", "acme", "requests", 1000, "total")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An SQLite database."""
    opened = open_engine(f"sqlite:///{tmp_path}/embedway.db")
    upgrade(opened)
    return opened


@pytest.fixture
async def processes(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Process]]:
    """Three of them, on the machine's own clock, with their work behind the requests."""
    monkeypatch.setattr("router.metering.purse.PATIENCE_S", PATIENCE_S)
    clock = SystemClock()
    running = [Process(engine, tmp_path / "state", [QUOTA], clock) for _ in range(3)]
    for process in running:
        process.bookkeeper.start()
    yield running
    for process in running:
        await process.stop()


async def served(process: Process) -> None:
    reservation = await process.meter.reserve(process.asked(), 3)
    await asyncio.sleep(0)
    reservation.settle(Outcome("cheap", 3, 0, {"cheap": 3}, 1))


async def test_nobody_is_refused_while_there_is_budget_for_all(processes: list[Process]) -> None:
    """A thousand requests at three processes use a thousand up, to the last one."""
    turns = itertools.cycle(processes)
    for _ in range(20):
        await asyncio.gather(*(served(next(turns)) for _ in range(50)))
    for process in processes:
        with pytest.raises(BudgetExhaustedError, match="1000 requests of 1000 requests"):
            await served(process)


async def test_what_an_idle_process_holds_is_asked_back(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took ahead of need; a process that needs the rest gets it within a few looks."""
    # It gives nothing back by itself, however long the others take.
    monkeypatch.setattr("router.metering.keeper._IDLE_S", 10**9)
    idle, busy, _ = processes
    await served(idle)
    looks: list[int] = []
    look = idle.leases.wanted

    def counted(now_s: float) -> list[tuple[str, int]]:
        wanted = look(now_s)
        looks.append(len(wanted))
        return wanted

    idle.leases.wanted = counted  # type: ignore[method-assign]
    for _ in range(999):
        await served(busy)
    # Of its looks, those that found others in want: at the first it gives back.
    assert 1 <= sum(looks) <= 3
    with pytest.raises(BudgetExhaustedError):
        await served(busy)


async def test_without_the_store_leases_are_spent_and_then_it_is_closed(
    processes: list[Process],
) -> None:
    """Requests go on inside the lease at hand; the first that does not fit gets 503, not 402."""
    process = processes[0]
    await served(process)
    (purse,) = process.plans.active
    assert purse.holding is not None
    free = purse.holding.free

    def down(*_: object) -> None:
        raise StoreUnavailableError("down")

    process.leases.take = down  # type: ignore[assignment, method-assign]
    process.leases.give_back = down  # type: ignore[assignment, method-assign]
    for _ in range(free):
        await served(process)
    with pytest.raises(StoreUnavailableError):
        await served(process)
    del process.leases.take, process.leases.give_back
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await served(process)
                break
            await asyncio.sleep(TICK_S)


async def test_a_request_that_is_given_up_while_it_waits_takes_nothing(
    processes: list[Process],
) -> None:
    """What it would have got is there for others."""
    process = processes[0]
    waiting = [asyncio.create_task(served(process)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for _ in range(1000):
        await served(process)
    with pytest.raises(BudgetExhaustedError):
        await served(process)
