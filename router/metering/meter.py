"""Metering of a request: reserve before the call, settle after it, all in memory and the spool."""

import itertools
from collections.abc import Mapping

from router.domain.clock import Clock
from router.domain.ports import UsageSpool
from router.domain.types import Route
from router.metering.plans import Plan, Plans
from router.metering.refusals import unpriced
from router.metering.reservation import Amounts, Asked, Books, Holdings, Reservation
from router.policy.pricing import cost_nano_usd, dearest


class Meter:
    """Reserves what requests may cost, of all the quotas that they meet."""

    def __init__(
        self,
        plans: Plans,
        spool: UsageSpool,
        prices: Mapping[str, int | None],
        clock: Clock,
        numbers: "itertools.count[int] | None" = None,
    ) -> None:
        """`prices` are nano-USD per million tokens by target, None where it is not known.

        `numbers` name this process's requests: meters that write to one spool share them.
        """
        self._plans = plans
        self._books = Books(spool, prices, clock)
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._dearest: dict[str, int | None] = {}

    async def reserve(self, asked: Asked, tokens: int) -> Reservation:
        """Set aside what the tokens may cost at the dearest target of the route.

        QuotaError, StoreUnavailableError; then nothing stays set aside.
        """
        caller, route, books = asked.caller, asked.route, self._books
        key = (caller.tenant, caller.key_name, route.name)
        plan = self._plans.known(key) or await self._plans.load(key)
        price = self._price(route)
        if price is None and plan.budget is not None:
            raise unpriced(plan.budget, route.name)
        # Of two calls that run side by side both may have to be paid for.
        paid_tokens = 2 * tokens if route.is_hedged else tokens
        cost = None if price is None else cost_nano_usd(paid_tokens, price)
        amounts = (1, tokens, cost or 0)
        holdings = _reserved_now(plan, amounts, books.clock.wall_s())
        if holdings is None:
            holdings = await _reserved(plan, amounts)
        try:
            return Reservation(
                books, next(self._numbers), asked, plan, holdings, amounts, cost
            )  # fmt: skip
        except BaseException:
            _release(holdings, amounts)
            raise

    def _price(self, route: Route) -> int | None:
        """The highest price of the route's targets, found once."""
        if route.name not in self._dearest:
            prices = [self._books.prices[target] for target in route.targets]
            self._dearest[route.name] = dearest(prices)
        return self._dearest[route.name]


def _reserved_now(plan: Plan, amounts: Amounts, wall_s: float) -> Holdings | None:
    """All or nothing, from the leases at hand."""
    holdings: Holdings = []
    for purse, index in plan.purses:
        if not amounts[index]:
            continue
        holding = purse.try_reserve(amounts[index], wall_s)
        if holding is None:
            _release(holdings, amounts)
            return None
        holdings.append((holding, index))
    return holdings


async def _reserved(plan: Plan, amounts: Amounts) -> Holdings:
    """All or nothing, with leases from the store where need be."""
    holdings: Holdings = []
    try:
        for purse, index in plan.purses:
            if amounts[index]:
                holdings.append((await purse.reserve(amounts[index]), index))
    except BaseException:
        _release(holdings, amounts)
        raise
    return holdings


def _release(holdings: Holdings, amounts: Amounts) -> None:
    for holding, index in holdings:
        holding.settle(amounts[index], 0)
