"""Everything that metering does behind the requests, each at its own pace."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.domain.clock import Clock
from router.domain.errors import StoreUnavailableError
from router.domain.ports import LedgerWriter, QuotaBook, UsageSpool
from router.metering.desk import Desk
from router.metering.keeper import TICK_S, Keeper
from router.metering.plans import Plans
from router.metering.pump import PUMP_S, Pump
from router.telemetry.logs import Log

_LOOK_S = 1.0
_RETENTION_S = 3600.0
# After the store failed: not stormed while it comes back, and even the rarest work tries it soon.
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_FLUSH_S = 5.0
_DAY_S = 86_400.0

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days each kind of usage is kept."""

    records_days: float
    hours_days: float
    days_days: float


@dataclass(frozen=True, slots=True)
class Backing:
    """What metering stands on.

    `recover` settles what dead processes left, on a thread, and tells what it did.
    """

    spool: UsageSpool
    ledger: LedgerWriter
    quotas: QuotaBook
    recover: Callable[[], list[dict[str, str | int | bool]]]


class Bookkeeper:
    """Starts, keeps going and ends the work behind metering."""

    def __init__(
        self,
        *,
        plans: Plans,
        desk: Desk,
        pump: Pump,
        backing: Backing,
        retention: Retention,
        clock: Clock,
        log: Log,
    ) -> None:
        self._plans = plans
        self._desk = desk
        self._pump = pump
        self._backing = backing
        self._retention = retention
        self._clock = clock
        self._log = log
        self._keeper = Keeper(plans.active, desk, clock)
        self._changed_s = clock.wall_s()
        # Work whose latest round the store failed. That which looks for changes asks it in every
        # round, so there is always one that knows; others may have had nothing to ask it.
        self._failed: set[Work] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin all of it."""
        work: list[tuple[float, Work]] = [
            (TICK_S, self._keeper.tick),
            (PUMP_S, self._pump.tick),
            (_LOOK_S, self._see_changes),
            (_LOOK_S, self._see_counters),
            (_LOOK_S, self._see_dead),
            (_RETENTION_S, self._forget),
        ]
        self._tasks = [asyncio.create_task(self._repeat(*one)) for one in work]

    async def close(self) -> None:
        """After the last request: bring everything to the store, if it can be reached.

        What cannot be brought stays on the disk, and the next process to start settles it.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        is_settled = False
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._pump.tick()
                if self._backing.spool.under_way == 0:
                    holder = self._backing.spool.holder
                    await self._desk.run(self._desk.leases.bury, holder, is_proven=True)
                    is_settled = True
        except (StoreUnavailableError, TimeoutError):
            self._log.event("store", ready=False)
        self._pump.close()
        self._desk.close()
        self._backing.spool.close(remove=is_settled)

    @property
    def is_store_up(self) -> bool:
        """Whether the store did all that it was last asked for by each kind of work."""
        return not self._failed

    async def _repeat(self, every_s: float, work: Work) -> None:
        while True:
            pause_s = every_s
            try:
                await work()
            except StoreUnavailableError:
                self._report(self._failed | {work})
                pause_s = min(max(every_s, _PAUSE_S), _LONGEST_PAUSE_S)
            except Exception as error:  # noqa: BLE001 - the top of a worker loop
                self._log.event("defect", method="metering", error=type(error).__name__)
                pause_s = max(every_s, _PAUSE_S)
            else:
                self._report(self._failed - {work})
            await asyncio.sleep(pause_s)

    def _report(self, failed: set[Work]) -> None:
        """Say so when the first work fails, and when the last one is done again."""
        was_up, self._failed = self.is_store_up, failed
        if self.is_store_up != was_up:
            self._log.event("store", ready=self.is_store_up)

    async def _see_changes(self) -> None:
        changed, self._changed_s = await asyncio.to_thread(
            self._backing.quotas.changed_since, self._changed_s
        )
        if changed:
            self._plans.drop(changed)

    async def _see_counters(self) -> None:
        """What everybody spent of soft quotas; the first time it is too much is logged."""
        soft = [one for one in self._plans.counters() if one.quota.mode == "soft" and one.since]
        if not soft:
            return
        places = {(one.quota.id, one.span.start_s): one for one in soft}
        spent = await asyncio.to_thread(self._backing.ledger.spent, list(places))
        for place, amount in spent.items():
            if places[place].see(amount):
                self._log.event("quota_passed", quota=place[0], limit=places[place].quota.limit)

    async def _see_dead(self) -> None:
        for recovered in await asyncio.to_thread(self._backing.recover):
            self._log.event("recovered", **recovered)

    async def _forget(self) -> None:
        now_s, keep = self._clock.wall_s(), self._retention
        await asyncio.to_thread(
            self._backing.ledger.forget_before,
            now_s - keep.records_days * _DAY_S,
            now_s - keep.hours_days * _DAY_S,
            now_s - keep.days_days * _DAY_S,
            now_s,
        )
