"""What the books say of the store: that it is away as long as it is, and nothing in between."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from router.domain.clock import SystemClock
from router.domain.errors import StoreUnavailableError
from router.domain.quotas import Quota
from router.metering.reservation import Outcome
from router.store.engine import open_engine
from router.store.migrate import upgrade
from tests.metering.processes import Process

QUOTA = Quota("tenant", "acme", "requests", 1000, "total")


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    """One with all its work behind the requests."""
    engine = open_engine(f"sqlite:///{tmp_path}/embedway.db")
    upgrade(engine)
    running = Process(engine, tmp_path / "state", [QUOTA], SystemClock())
    running.bookkeeper.start()
    yield running
    await running.stop()
    engine.dispose()


def down(*_: object) -> Any:
    raise StoreUnavailableError("down")


def told(process: Process) -> list[bool]:
    lines = map(json.loads, process.log.getvalue().splitlines())
    return [line["ready"] for line in lines if line["event"] == "store"]


async def becomes(process: Process, *, is_up: bool) -> None:
    async with asyncio.timeout(60):
        while process.bookkeeper.is_store_up is not is_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def stays_down(process: Process, seconds: float) -> None:
    until_s = process.clock.monotonic_s() + seconds
    while process.clock.monotonic_s() < until_s:
        assert not process.bookkeeper.is_store_up
        await asyncio.sleep(0.01)


async def reads_fail(process: Process) -> Callable[[], None]:
    """The store is away; no request comes, so most of the work has nothing to ask it."""
    quotas = process.bookkeeper._backing.quotas
    quotas.changed_since = down  # type: ignore[method-assign]
    return lambda: delattr(quotas, "changed_since")


async def writes_fail(process: Process) -> Callable[[], None]:
    """The store can be read and not written: a record waits in the spool."""
    process.ledger.write = down  # type: ignore[assignment, method-assign]
    reservation = await process.meter.reserve(process.asked(), 3)
    reservation.settle(Outcome("cheap", 3, 0, {"cheap": 3}, 1))
    return lambda: delattr(process.ledger, "write")


@pytest.mark.parametrize("fail", [reads_fail, writes_fail], ids=lambda one: one.__name__)
async def test_the_store_counts_as_away_until_it_is_back(process: Process, fail: Any) -> None:
    """At every moment of an outage, with one line in the log for its begin and one for its end."""
    mend = await fail(process)
    await becomes(process, is_up=False)
    await stays_down(process, 2.5)
    assert told(process) == [False]
    mend()
    await becomes(process, is_up=True)
    await asyncio.sleep(1.2)
    assert told(process) == [False, True]
