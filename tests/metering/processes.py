"""Metering as one router process has it, with a real store and spool, and ways to fail."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Engine

from router.domain.errors import StoreUnavailableError
from router.domain.quotas import Ask, Grant, Quota
from router.domain.types import Caller, Route, Space
from router.metering.bookkeeper import Backing, Bookkeeper, Retention
from router.metering.desk import Desk
from router.metering.keeper import Keeper
from router.metering.meter import Meter
from router.metering.plans import Plans
from router.metering.pump import Pump
from router.metering.reservation import Asked
from router.store.leases import LeaseBook
from router.store.ledger import Ledger
from router.store.quotas import StoredQuotas
from router.store.recovery import recover_all
from router.store.spool import Spool
from router.store.spool_folder import SpoolFolder
from router.telemetry.logs import Log
from tests.support.clocks import ManualClock

ROUTE = Route("r", Space("s", "m", 4, 8), ("cheap", "dear"))
CHEAP, DEAR = 1_000_000, 3_000_000  # nano-USD per million tokens: 1 and 3 a token
SEGMENT_BYTES = 4096


class Failing:
    """Makes the next operation fail: before it is done, or after, when nobody can know."""

    def __init__(self) -> None:
        self.next = ""

    def begin(self) -> None:
        if self.next == "before":
            self.next = ""
            raise StoreUnavailableError("before")

    def end(self) -> None:
        if self.next == "after":
            self.next = ""
            raise StoreUnavailableError("after")


class FailingLeases(LeaseBook):
    def __init__(self, engine: Engine, holder: str, failing: Failing) -> None:
        super().__init__(engine, holder)
        self._failing = failing

    def take(self, asks: Sequence[Ask], now_s: float) -> list[Grant]:
        self._failing.begin()
        grants = super().take(asks, now_s)
        self._failing.end()
        return grants

    def give_back(self, keeps: Mapping[int, int]) -> None:
        self._failing.begin()
        super().give_back(keeps)
        self._failing.end()


class FailingLedger(Ledger):
    def __init__(self, engine: Engine, failing: Failing) -> None:
        super().__init__(engine)
        self._failing = failing

    def write(
        self, holder: str, before: int, after: int, records: Sequence[bytes], now_s: float
    ) -> int:
        self._failing.begin()
        position = super().write(holder, before, after, records, now_s)
        self._failing.end()
        return position


class Process:
    """What `App` builds for metering."""

    def __init__(
        self, engine: Engine, state: Path, quotas: Sequence[Quota], clock: ManualClock
    ) -> None:
        self.failing = Failing()
        self.clock = clock
        self.spool = Spool(SpoolFolder.made(state), SEGMENT_BYTES)
        self.leases = FailingLeases(engine, self.spool.holder, self.failing)
        self.ledger = FailingLedger(engine, self.failing)
        self.desk = Desk(self.leases, clock)
        declared: dict[tuple[str, str], list[Quota]] = {}
        for quota in quotas:
            declared.setdefault((quota.scope, quota.subject), []).append(quota)
        stored = StoredQuotas(engine)
        self.plans = Plans(declared, stored, self.desk, clock)
        self.pump = Pump(self.spool, self.ledger, clock, sync_interval_s=3600)
        self.keeper = Keeper(self.plans.active, self.desk, clock)
        self.meter = Meter(self.plans, self.spool, {"cheap": CHEAP, "dear": DEAR}, clock)
        self.log = io.BytesIO()
        self.bookkeeper = Bookkeeper(
            plans=self.plans,
            desk=self.desk,
            pump=self.pump,
            backing=Backing(
                self.spool,
                self.ledger,
                stored,
                lambda: recover_all(state, self.ledger, self.leases, clock),
            ),
            retention=Retention(90, 90, 90),
            clock=clock,
            log=Log(clock, self.log),
        )

    def asked(self, tenant: str = "acme", key: str = "first") -> Asked:
        return Asked(Caller(tenant, key), ROUTE, 1, "request", "")

    def crash(self) -> None:
        """End as `kill -9` does: nothing is given back, the folder's lock is gone."""
        self.desk.close()
        self.pump.close()
        self.spool.close(remove=False)

    async def stop(self) -> None:
        """End in order."""
        await self.bookkeeper.close()
        await asyncio.sleep(0)
