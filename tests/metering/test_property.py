"""Whatever happens in whatever order, no window is overspent, and at rest no money is lost."""

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from router.domain.errors import QuotaError, StoreUnavailableError
from router.domain.quotas import Quota
from router.metering.reservation import Outcome, Reservation
from router.store.engine import open_engine
from router.store.migrate import upgrade
from router.store.recovery import recover_all
from router.store.tables import leases, quota_windows, usage
from tests.metering.processes import Process
from tests.support.clocks import ManualClock

T = TypeVar("T")
QUOTAS = (
    Quota("tenant", "acme", "usd", 400, "total"),
    Quota("tenant", "acme", "tokens", 90, "minute"),
    Quota("key", "acme:first", "requests", 6, "minute"),
    Quota("route", "r", "tokens", 10, "minute", "shadow"),
)
WINDOW = tuple[str, int]
_TEMPLATE: list[Path] = []


class Budgets(RuleBasedStateMachine):
    """Three processes, one database; `spent` is what the world knows to be spent."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.engine = open_engine(f"sqlite:///{_copy(self.folder)}")
        self.loop = asyncio.new_event_loop()
        # Every look at the clock is late enough for whoever waits to be refused at once.
        self.clock = ManualClock(tick_s=0.6)
        self.processes = [self._started() for _ in range(3)]
        self.open: list[tuple[Process, Reservation]] = []
        self.spent: Counter[WINDOW] = Counter()
        self.answered = 0

    @rule(which=st.integers(0, 2), tokens=st.integers(1, 60))
    def reserve(self, which: int, tokens: int) -> None:
        process = self.processes[which]
        try:
            made = self._run(process.meter.reserve(process.asked(), tokens))
        except (QuotaError, StoreUnavailableError):
            return
        self.open.append((process, made))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), is_dear=st.booleans())
    def settle(self, data: st.DataObject, is_dear: bool) -> None:
        _, made = self._picked(data)
        tokens = made._amounts[1]
        self._count(made, (1, tokens, tokens * (3 if is_dear else 1)))
        target = "dear" if is_dear else "cheap"
        made.settle(Outcome(target, tokens, 0, {target: tokens}, 1))
        self.answered += 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), dear=st.integers(0, 90), cheap=st.integers(0, 90))
    def fail(self, data: st.DataObject, dear: int, cheap: int) -> None:
        """Without an answer what may be billed is paid for, as far as it was set aside."""
        _, made = self._picked(data)
        billed = {name: n for name, n in (("dear", dear), ("cheap", cheap)) if n}
        _, tokens, cost = made._amounts
        work = dear + cheap
        self._count(made, (int(work > 0), min(work, tokens), min(3 * dear + cheap, cost)))
        made.settle(Outcome(",".join(billed), work, 0, billed, 1, "upstream_error"))

    @rule(which=st.integers(0, 2))
    def crash(self, which: int) -> None:
        process = self.processes[which]
        process.crash()
        self._lose(process)
        self.processes[which] = self._started()

    @rule(which=st.integers(0, 2))
    def stop(self, which: int) -> None:
        """A process that is stopped while requests are under way leaves them to the next one."""
        process = self.processes[which]
        self._run(process.stop())
        self._lose(process)
        self.processes[which] = self._started()

    @rule(which=st.integers(0, 2))
    def give_back(self, which: int) -> None:
        self._try(self.processes[which].keeper.tick())

    @rule(which=st.integers(0, 2))
    def write_behind(self, which: int) -> None:
        self._try(self.processes[which].pump.tick())

    @rule(which=st.integers(0, 2))
    def recover(self, which: int) -> None:
        process = self.processes[which]
        with contextlib.suppress(StoreUnavailableError):
            recover_all(self.folder / "state", process.ledger, process.leases, self.clock)

    @rule(which=st.integers(0, 2), when=st.sampled_from(["before", "after"]))
    def let_the_store_fail(self, which: int, when: str) -> None:
        self.processes[which].failing.next = when

    @rule(step_s=st.integers(-90, 90))
    def step_clock(self, step_s: int) -> None:
        self.clock.wall += step_s

    @rule()
    def idle(self) -> None:
        """Long enough for leases to expire."""
        self.clock.monotonic += 60

    @invariant()
    def spent_leased_limit(self) -> None:
        limits = {quota.id: quota for quota in QUOTAS}
        with self.engine.connect() as connection:
            for row in connection.execute(select(quota_windows)):
                quota = limits[row.quota]
                assert row.spent <= row.leased, row
                if quota.mode == "hard":
                    assert row.leased <= quota.limit, row
        for (name, start_s), amount in self._committed().items():
            assert limits[name].mode != "hard" or amount <= limits[name].limit, (name, start_s)

    @invariant()
    def the_store_knows_every_lease(self) -> None:
        with self.engine.connect() as connection:
            known = {(row.holder, row.number): row.granted
                     for row in connection.execute(select(leases))}  # fmt: skip
        for process in self.processes:
            for purse in process.plans.active:
                held = [*purse.retired, *([purse.holding] if purse.holding else [])]
                for one in held:
                    assert min(one.free, one.reserved, one.spent) >= 0
                    assert one.granted <= known.get((process.spool.holder, one.number), 0)

    def teardown(self) -> None:
        for _, made in self.open:
            made.settle(Outcome("", 0, 0, {}, 1, "cancelled"))
        self._rest()
        self.spent_leased_limit()
        self._nothing_is_lost()
        for process in self.processes:
            self._run(process.stop())
        self._nothing_is_lost()
        with self.engine.connect() as connection:
            assert connection.execute(select(leases)).all() == []
            statuses = Counter(connection.execute(select(usage.c.status)).scalars())
        assert statuses["ok"] == self.answered
        assert list((self.folder / "state").iterdir()) == []
        self.engine.dispose()
        self.loop.close()
        shutil.rmtree(self.folder)

    def _rest(self) -> None:
        """Nobody asks for anything for a minute, and the store can be reached again."""
        for process in self.processes:
            process.failing.next = ""
            recover_all(self.folder / "state", process.ledger, process.leases, self.clock)
            for _ in range(2):
                self.clock.monotonic += 60
                self._run(process.pump.tick())
                self._run(process.keeper.tick())

    def _nothing_is_lost(self) -> None:
        """What is leased is what was spent, to the last unit."""
        with self.engine.connect() as connection:
            windows = connection.execute(select(quota_windows)).all()
        assert {(w.quota, w.start_s): w.leased for w in windows if w.leased} == +self.spent
        assert {(w.quota, w.start_s): w.spent for w in windows if w.spent} == +self.spent

    def _started(self) -> Process:
        return Process(self.engine, self.folder / "state", QUOTAS, self.clock)

    def _picked(self, data: st.DataObject) -> tuple[Process, Reservation]:
        return self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))

    def _lose(self, process: Process) -> None:
        """Requests that were under way may have been answered by their target: they are charged."""
        for _, made in [one for one in self.open if one[0] is process]:
            self._count(made, made._amounts)
        self.open = [one for one in self.open if one[0] is not process]

    def _count(self, made: Reservation, amounts: tuple[int, int, int]) -> None:
        for row in made._charges(amounts):
            self.spent[row[2], row[3]] += row[1]

    def _committed(self) -> Counter[WINDOW]:
        """What is spent, and what may be by requests under way."""
        total = Counter(self.spent)
        for _, made in self.open:
            for row in made._charges(made._amounts):
                total[row[2], row[3]] += row[1]
        return total

    def _try(self, work: Awaitable[None]) -> None:
        with contextlib.suppress(StoreUnavailableError):
            self._run(work)

    def _run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)


def _copy(folder: Path) -> Path:
    """A database with its tables; making them anew each time would take most of the time."""
    if not _TEMPLATE:
        made = Path(tempfile.mkdtemp()) / "template.db"
        engine = open_engine(f"sqlite:///{made}")
        upgrade(engine)
        engine.dispose()
        _TEMPLATE.append(made)
    return shutil.copy(_TEMPLATE[0], folder / "embedway.db")


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
