"""Gives leases back: what is idle, what others were refused, and what a window's end left."""

from collections.abc import Iterator

from router.domain.clock import Clock
from router.domain.errors import StoreUnavailableError
from router.metering.desk import Desk
from router.metering.purse import Purse
from router.policy.quotas import Holding

TICK_S = 0.1
# A lease that nothing was taken from for this long is not needed now,
_IDLE_S = 1.0
# and after this long its purse is closed.
_CLOSE_S = 20.0
_FORGET_EVERY_S = 0.5

Window = tuple[str, int]


class Keeper:
    """Looks after the leases of all purses; `tick` is called every TICK_S."""

    def __init__(self, active: set[Purse], desk: Desk, clock: Clock) -> None:
        """`active` are the purses that hold a lease."""
        self._active = active
        self._desk = desk
        self._clock = clock
        self._forgot_s = float("-inf")

    async def tick(self) -> None:
        """Give back what should be; StoreUnavailableError, and then the next tick tries again."""
        wanted = await self._wanted()
        given = self._collect(wanted)
        if given:
            await self._give_back(given)
        now_s = self._clock.monotonic_s()
        if now_s - self._forgot_s >= _FORGET_EVERY_S:
            self._forgot_s = now_s
            await self._forget()

    async def _wanted(self) -> set[Window]:
        if not any(purse.holding is not None and purse.holding.free for purse in self._active):
            return set()
        wall_s = self._clock.wall_s()
        return set(await self._desk.run(self._desk.leases.wanted, wall_s))

    def _collect(self, wanted: set[Window]) -> list[Holding]:
        """Leases whose free part, taken out here, is to be given back."""
        given: list[Holding] = []
        now_s, wall_s = self._clock.monotonic_s(), self._clock.wall_s()
        for purse in list(self._active):
            if _is_over(purse, now_s, wall_s):
                purse.retire()
            given += (
                one for one in purse.retired if _is_ready(one) and (one.free or one.is_unsure)
            )
            holding = purse.holding
            if holding is None or purse.is_waited_for or not _is_ready(holding):
                continue
            place = (holding.quota.id, holding.span.start_s)
            is_spare = holding.free and (now_s - purse.seen_s > _IDLE_S or place in wanted)
            if is_spare or holding.is_unsure:
                given.append(holding)
        for holding in given:
            holding.give_up()
        return given

    async def _give_back(self, given: list[Holding]) -> None:
        # Nothing may come between reckoning what is kept and the call: whoever asks from now on
        # stands behind it at the desk.
        keeps = {holding.number: holding.granted for holding in given}
        for holding in given:
            holding.is_unsure = False
        try:
            await self._desk.run(self._desk.leases.give_back, keeps)
            self._desk.returned += len(keeps)
        except StoreUnavailableError:
            for holding in given:
                holding.is_unsure = True
            raise

    async def _forget(self) -> None:
        ended = {one.number: one.granted for one in self._retired() if not one.reserved}
        gone = set(await self._desk.run(self._desk.leases.forget, ended)) if ended else set()
        for purse in list(self._active):
            purse.retired = [
                one for one in purse.retired if one.number not in gone and not _is_nothing(one)
            ]
            if purse.holding is None and not purse.retired:
                self._active.discard(purse)

    def _retired(self) -> Iterator[Holding]:
        for purse in self._active:
            yield from purse.retired


def _is_over(purse: Purse, now_s: float, wall_s: float) -> bool:
    """Whether the lease at hand is of another window, or nobody has wanted it for long."""
    holding = purse.holding
    if holding is None or purse.is_waited_for or holding.is_asking:
        return False
    if purse.seen_kept != holding.kept:
        purse.seen_kept, purse.seen_s = holding.kept, now_s
    is_left = not holding.reserved and now_s - purse.seen_s > _CLOSE_S
    return is_left or not holding.span.holds(wall_s)


def _is_ready(holding: Holding) -> bool:
    """Whether no grant is on its way: it would not be in what is reckoned here."""
    return not holding.is_asking


def _is_nothing(holding: Holding) -> bool:
    """Whether the store never heard of the lease."""
    return not (holding.is_known or holding.is_unsure or holding.is_asking)
