"""One request between its reservation and its settlement."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from router.domain.clock import Clock
from router.domain.ports import UsageSpool
from router.domain.quotas import Allowance
from router.domain.types import Caller, Route
from router.domain.usage import LOST, OK, ChargeRow, Receipt
from router.metering.plans import Plan
from router.metering.purse import Purse
from router.policy.pricing import cost_nano_usd
from router.policy.quotas import Holding
from router.policy.windows import span_of

Amounts = tuple[int, int, int]  # requests, tokens, nano-USD
Holdings = list[tuple[Holding, int]]  # each with the index of its unit's amount
_USD = 2
# A budget nears its end when this part of it is left.
_NEAR = 10


@dataclass(frozen=True, slots=True)
class Books:
    """What reservations are written to, and the prices (nano-USD per million tokens) by target."""

    spool: UsageSpool
    prices: Mapping[str, int | None]
    clock: Clock

    def cost(self, billed: Mapping[str, int]) -> int | None:
        """What these tokens cost at each target, in nano-USD; None without a price.

        Rounded up once and not for each target, so that it never exceeds what was reserved.
        """
        prices = [(tokens, self.prices[target]) for target, tokens in billed.items()]
        if any(price is None for _, price in prices):
            return None
        return cost_nano_usd(1, sum(tokens * (price or 0) for tokens, price in prices))


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for what: `count` inputs, and the names of the request and its trace."""

    caller: Caller
    route: Route
    count: int
    request_id: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: who answered it or, where nobody did, may have worked for it.

    `tokens` are those of its inputs, without an answer those of the calls that may be billed;
    `billed` has these by target. `cached_tokens` nobody computed. `status` is the ledger's.
    """

    target: str
    tokens: int
    cached_tokens: int
    billed: Mapping[str, int]
    attempts: int
    status: str = OK


# What stands on disk until a request has ended, for whoever finds it after a crash.
_LOST = Outcome("", 0, 0, {}, 0, LOST)


class Reservation:
    """What one request has set aside, until it is settled, once, however it ends."""

    __slots__ = ("_amounts", "_asked", "_begun_s", "_books", "_cost", "_holdings", "_intent",
                 "_name", "_number", "_plan", "_rows", "_spans", "_time_s")  # fmt: skip

    def __init__(
        self,
        books: Books,
        number: int,
        asked: Asked,
        plan: Plan,
        holdings: Holdings,
        amounts: Amounts,
        cost: int | None,
    ) -> None:
        """Note in the spool what the request will have cost if this process dies before its end.

        StoreUnavailableError where the spool has no room.
        """
        self._books = books
        self._number = number
        self._asked = asked
        self._plan = plan
        self._holdings = holdings
        self._amounts = amounts
        self._cost = cost
        self._begun_s = books.clock.monotonic_s()
        self._time_s = books.clock.wall_s()
        for counter, _ in plan.counters:
            counter.turn(self._time_s)
        # A request counts in the windows in which it was let in, however long it takes.
        self._spans = [counter.span for counter, _ in plan.counters]
        self._name = f"{books.spool.holder}-{number}"
        self._rows = self._charges(amounts)
        self._intent = books.spool.intend(number, self._record(_LOST, amounts, cost))

    @property
    def is_near_the_end(self) -> bool:
        """Whether less than a tenth of a budget in USD is left, as far as this process knows."""
        return any(
            purse.remaining * _NEAR < purse.quota.limit
            for purse, index in self._plan.purses
            if index == _USD
        )

    def settle(self, outcome: Outcome) -> Receipt:
        """The request has ended: spend what that costs, and free the rest.

        An answer counts as a request with all its tokens. Without one only work is paid for that a
        target may ask money for: else who leaves or fails in time would spend without limit.
        """
        cost = self._books.cost(outcome.billed)
        if cost is not None and self._cost is not None:
            # Calls that nobody waited for may add up to more than what was set aside.
            cost = min(cost, self._cost)
        is_charged = outcome.status == OK or bool(outcome.billed)
        amounts = (int(is_charged), min(outcome.tokens, self._amounts[1]), cost or 0)
        self._end(outcome, amounts, cost)
        plan = self._plan
        return Receipt(
            cost_nano_usd=cost,
            requests=_tightest(plan.requests, self._time_s),
            tokens=_tightest(plan.tokens, self._time_s),
            over=_passed(plan) if plan.counters else (),
        )

    def _end(self, outcome: Outcome, amounts: Amounts, cost: int | None) -> None:
        # First on disk, then free for others: should the disk be full, it stays set aside.
        payload = self._record(outcome, amounts, cost)
        self._books.spool.record(self._number, payload, self._intent)
        for holding, index in self._holdings:
            holding.settle(self._amounts[index], amounts[index])
        for (counter, index), span in zip(self._plan.counters, self._spans, strict=True):
            counter.add(amounts[index], span)

    def _record(self, outcome: Outcome, amounts: Amounts, cost: int | None) -> bytes:
        """The usage record, as `domain.usage.UsageRecord` lays it out."""
        asked = self._asked
        # Most often what was set aside is what is spent.
        rows = self._rows if amounts == self._amounts else self._charges(amounts)
        latency_s = self._books.clock.monotonic_s() - self._begun_s
        return orjson.dumps(
            (
                self._name, asked.request_id, self._time_s,
                asked.caller.tenant, asked.caller.key_name, asked.route.name,
                asked.route.space.name, asked.count, outcome.target, outcome.status,
                amounts[1], cost, outcome.cached_tokens, outcome.attempts,
                int(latency_s * 1e6), asked.trace_id, rows,
            )
        )  # fmt: skip

    def _charges(self, amounts: Amounts) -> list[ChargeRow]:
        rows = [holding.charge(amounts[i]) for holding, i in self._holdings if amounts[i]]
        for (counter, i), span in zip(self._plan.counters, self._spans, strict=True):
            if amounts[i]:
                rows.append(counter.charge(amounts[i], span))
        return rows


def _passed(plan: Plan) -> tuple[str, ...]:
    """Soft quotas of which more is spent than their limit."""
    return tuple(c.quota.id for c, _ in plan.counters if c.is_over and c.quota.mode == "soft")


def _tightest(purses: tuple[Purse, ...], wall_s: float) -> Allowance | None:
    """The allowance of which least is left."""
    if not purses:
        return None
    purse = purses[0] if len(purses) == 1 else min(purses, key=lambda one: one.remaining)
    end_s = span_of(purse.quota.window, wall_s).end_s or wall_s
    return Allowance(purse.quota, purse.remaining, math.ceil(end_s - wall_s))
