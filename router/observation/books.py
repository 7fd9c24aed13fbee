"""Figures of quotas, leases, the spool and the store."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.domain.clock import Clock
from router.domain.errors import StoreUnavailableError
from router.domain.ports import LedgerWriter
from router.domain.quotas import NANO_USD, Quota
from router.metering.bookkeeper import Bookkeeper
from router.metering.desk import Desk
from router.metering.plans import Plans
from router.metering.pump import Pump
from router.policy.windows import span_of
from router.telemetry import metric_names as names
from router.telemetry.board import Board
from router.telemetry.registry import OTHER

_ASK_EVERY_S = 5.0
# Quotas that are asked for at a time: one indexed query.
_MOST = 2000


@dataclass(frozen=True, slots=True)
class BookView:
    """What metering keeps. `declared` are the file's quotas by scope and subject."""

    plans: Plans
    desk: Desk
    pump: Pump
    bookkeeper: Bookkeeper
    ledger: LedgerWriter
    declared: Callable[[], Mapping[tuple[str, str], Sequence[Quota]]]


class BookObserver:
    """Looks at metering; the ledger is asked every few seconds, by nobody's request."""

    def __init__(self, books: BookView, tenant: Callable[[str], str], clock: Clock) -> None:
        """`tenant` gives the label of a tenant."""
        self._books = books
        self._tenant = tenant
        self._clock = clock
        self._spent: dict[Quota, int] = {}

    def look(self, board: Board) -> None:
        """Tell everything."""
        books = self._books
        board.follow(names.LEASE_ASKS, books.desk.granted, "granted")
        board.follow(names.LEASE_ASKS, books.desk.refused, "refused")
        board.follow(names.LEASE_ASKS, books.desk.failed, "failed")
        board.follow(names.LEASE_TRANSACTIONS, books.desk.transactions)
        board.follow(names.LEASE_RETURNS, books.desk.returned)
        board.tell(names.LEASES_HELD, len(books.plans.active))
        board.tell(names.SPOOL_DEPTH, books.pump.behind)
        board.tell(names.SPOOL_BYTES, books.pump.behind_bytes)
        board.tell(names.STORE_REACHABLE, books.bookkeeper.is_store_up, "ledger")
        others: dict[tuple[str, ...], float] = {}
        for quota, spent in self._spent.items():
            labels = self._labels(quota)
            used = spent / quota.limit if quota.limit else 1.0
            if labels[1] == OTHER:
                used = others[labels] = max(used, others.get(labels, 0.0))
            else:
                part = NANO_USD if quota.unit == "usd" else 1
                board.tell(names.QUOTA_SPENT, spent / part, *labels)
                board.tell(names.QUOTA_LIMIT, quota.limit / part, *labels)
            board.tell(names.QUOTA_USED, used, *labels)

    async def work(self) -> None:
        """Ask the ledger again and again; cancelled at the end."""
        while True:
            # The store's own gauge tells where it is out of reach; what was known stays.
            with contextlib.suppress(StoreUnavailableError):
                await self.ask()
            await asyncio.sleep(_ASK_EVERY_S)

    async def ask(self) -> None:
        """What is spent of each quota in its present window; StoreUnavailableError."""
        wall_s = self._clock.wall_s()
        declared = [quota for quotas in self._books.declared().values() for quota in quotas]
        found = {quota.id: quota for quota in (*self._books.plans.quotas(), *declared)}
        # Keys are without number, and a tenant's quotas tell of them.
        quotas = [quota for quota in found.values() if quota.scope != "key"][:_MOST]
        windows = [(quota.id, span_of(quota.window, wall_s).start_s) for quota in quotas]
        spent = await asyncio.to_thread(self._books.ledger.spent, windows) if windows else {}
        self._spent = {
            quota: spent.get(window, 0) for quota, window in zip(quotas, windows, strict=True)
        }

    def _labels(self, quota: Quota) -> tuple[str, ...]:
        subject = quota.subject if quota.scope == "route" else self._tenant(quota.subject)
        return quota.scope, subject, quota.unit, quota.window, quota.mode


class StoreObserver:
    """Tells whether the store answers to those who ask for keys."""

    def __init__(self, is_reachable: Callable[[], bool]) -> None:
        self._is_reachable = is_reachable

    def look(self, board: Board) -> None:
        """Tell it."""
        board.tell(names.STORE_REACHABLE, self._is_reachable(), "keys")
