"""One hard quota in this process: its lease, and the requests that wait for more of it."""

import asyncio
import itertools
from dataclasses import dataclass

from router.domain.clock import Clock
from router.domain.errors import EmbedwayError, StoreUnavailableError
from router.domain.quotas import Ask, Grant, Quota, Span
from router.metering.desk import Desk
from router.metering.refusals import refusal
from router.policy.quotas import Appetite, Holding
from router.policy.windows import span_of

# Between two asks of a quota that was refused: who waits joins the next one.
_ASK_AGAIN_S = 0.05
# How long a request waits for what idle processes hold: they look every `keeper.TICK_S`.
PATIENCE_S = 0.5
# When a lease is down to this part of its last grant, the next is asked for ahead of need.
_LOW = 4


@dataclass(slots=True, eq=False)
class _Waiter:
    amount: int
    since_s: float
    future: asyncio.Future[Holding]


class Purse:
    """Reserves from the lease in memory; goes to the store only where that is not enough."""

    __slots__ = (
        "__weakref__",
        "_active",
        "_appetite",
        "_clock",
        "_desk",
        "_last_grant",
        "_numbers",
        "_refill",
        "_refused_s",
        "_waiters",
        "holding",
        "left",
        "quota",
        "retired",
        "seen_kept",
        "seen_s",
    )

    def __init__(
        self,
        quota: Quota,
        desk: Desk,
        clock: Clock,
        numbers: "itertools.count[int]",
        active: "set[Purse]",
    ) -> None:
        """`numbers` are those of this process's leases; `active` is where purses with one are."""
        self.quota = quota
        self.holding: Holding | None = None
        # Leases of windows that are over, or that had been left alone; the keeper ends them.
        self.retired: list[Holding] = []
        # What was spent or reserved when the keeper last saw a change, and when that was.
        self.seen_kept = 0
        self.seen_s = clock.monotonic_s()
        # What nobody held when the store was last asked.
        self.left = quota.limit
        self._desk = desk
        self._clock = clock
        self._numbers = numbers
        self._active = active
        self._appetite = Appetite()
        self._last_grant = 0
        self._waiters: list[_Waiter] = []
        self._refill: asyncio.Task[None] | None = None
        self._refused_s = float("-inf")

    @property
    def is_waited_for(self) -> bool:
        """Whether requests wait for more."""
        return bool(self._waiters)

    @property
    def span(self) -> Span:
        """The turn of the window that it is now."""
        return span_of(self.quota.window, self._clock.wall_s())

    @property
    def remaining(self) -> int:
        """What could still be spent, as far as this process knows; never more than there is."""
        return self.left + (self.holding.free if self.holding is not None else 0)

    def try_reserve(self, amount: int, wall_s: float) -> Holding | None:
        """Reserve from the lease at hand; None where it does not do."""
        holding = self.holding
        if holding is None or self._waiters or not holding.span.holds(wall_s):
            return None
        if not holding.reserve(amount):
            return None
        if holding.free * _LOW < self._last_grant and self.left:
            self._begin_refill()
        return holding

    async def reserve(self, amount: int) -> Holding:
        """Reserve, from a new lease if need be; QuotaError, StoreUnavailableError."""
        future: asyncio.Future[Holding] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(amount, self._clock.monotonic_s(), future)
        self._waiters.append(waiter)
        self._begin_refill()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().settle(amount, 0)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def retire(self) -> None:
        """Take no more from the lease at hand."""
        if self.holding is not None:
            self.retired.append(self.holding)
            self.holding = None
            self._last_grant = 0

    def _begin_refill(self) -> None:
        if self._refill is None or self._refill.done():
            self._refill = asyncio.create_task(self._refilled())

    async def _refilled(self) -> None:
        """Ask until nobody waits; at least once, ahead of need."""
        try:
            await self._ask()
            while self._waiters:
                await self._ask()
        except EmbedwayError as error:
            self._fail(error)
        finally:
            # A defect of ours must not leave anyone waiting.
            self._fail(StoreUnavailableError("the quota could not be asked for"))

    async def _ask(self) -> None:
        holding = self._current()
        self._serve(holding)
        wait_s = self._refused_s + _ASK_AGAIN_S - self._clock.monotonic_s()
        if wait_s > 0:
            if not self._waiters:
                return
            await asyncio.sleep(wait_s)
            holding = self._current()
            self._serve(holding)
        begun_s = self._clock.monotonic_s()
        grant = await self._taken(holding)
        self.left = grant.left
        if grant.amount is not None:
            self._last_grant = grant.amount
            holding.grant(grant.amount)
            self._serve(holding)
            if grant.amount == 0 and not self._waiters:
                self._refused_s = begun_s
        else:
            self._refused_s = begun_s
            self._refuse(holding, grant, begun_s)

    async def _taken(self, holding: Holding) -> Grant:
        amounts = [waiter.amount for waiter in self._waiters]
        need = max(0, min(amounts, default=0) - holding.free)
        firm = max(need, sum(amounts) - holding.free)
        extra = self._appetite.ahead(firm or self._last_grant, self._clock.monotonic_s())
        ask = Ask(holding.number, self.quota, holding.span, need, firm, extra)
        holding.is_asking = True
        try:
            return await self._desk.take(ask)
        except BaseException:
            # It may have been granted all the same: the keeper tells the store what we know.
            holding.is_unsure = True
            raise
        finally:
            holding.is_asking = False

    def _current(self) -> Holding:
        span = self.span
        if self.holding is not None and self.holding.span != span:
            self.retire()
        if self.holding is None:
            self.holding = Holding(next(self._numbers), self.quota, span)
            self._active.add(self)
            self.left = self.quota.limit
        return self.holding

    def _serve(self, holding: Holding) -> None:
        """Reserve for those who wait, in order; smaller ones overtake those that do not fit."""
        if holding is not self.holding:
            return
        for waiter in list(self._waiters):
            if waiter.future.done():
                self._waiters.remove(waiter)
            elif holding.reserve(waiter.amount):
                self._waiters.remove(waiter)
                waiter.future.set_result(holding)

    def _refuse(self, holding: Holding, grant: Grant, asked_s: float) -> None:
        """Refuse those whom nothing that others may give back would help, or who waited enough.

        Only those who were there when the store was asked: every refusal has an ask before it.
        """
        for waiter in list(self._waiters):
            if waiter.since_s > asked_s or waiter.amount <= holding.free + grant.left:
                continue
            waited_s = self._clock.monotonic_s() - waiter.since_s
            missing = waiter.amount - holding.free - grant.left
            if grant.elsewhere < missing or waited_s >= PATIENCE_S:
                self._waiters.remove(waiter)
                if not waiter.future.done():
                    error = refusal(self.quota, holding.span, waiter.amount, self.remaining,
                                    self._clock.wall_s())  # fmt: skip
                    waiter.future.set_exception(error)

    def _fail(self, error: EmbedwayError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(error)
