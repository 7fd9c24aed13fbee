"""Which quotas a request meets, found once for each caller and route and kept in memory."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from router.domain.clock import Clock
from router.domain.ports import QuotaBook
from router.domain.quotas import Quota, Window
from router.metering.counter import Counter
from router.metering.desk import Desk
from router.metering.purse import Purse

Subject = tuple[str, str]  # scope, and whose quota it is
PlanKey = tuple[str, str, str]  # tenant, key's name, route

# A generation of plans; two are kept, so memory is bounded and hits cost no bookkeeping.
_MOST = 32_768
# Where several quotas refuse, the one that holds longest is named: another would mislead.
_LENGTH: dict[Window, int] = {"total": 0, "month": 1, "day": 2, "hour": 3, "minute": 4}
_UNITS = {"requests": 0, "tokens": 1, "usd": 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """The quotas of a caller on a route: each hard one with the index of its unit's amount."""

    subjects: frozenset[Subject]
    purses: tuple[tuple[Purse, int], ...]
    counters: tuple[tuple[Counter, int], ...]
    # The hard quota in USD, if there is one: then a price must be known.
    budget: Quota | None
    # For the headers: hard rates of requests, and of tokens.
    requests: tuple[Purse, ...]
    tokens: tuple[Purse, ...]


class Plans:
    """Plans by caller and route."""

    def __init__(
        self,
        declared: Mapping[Subject, Sequence[Quota]],
        stored: QuotaBook | None,
        desk: Desk,
        clock: Clock,
    ) -> None:
        """Take the quotas of the configuration, and those of the store unless it has none."""
        self._declared = declared
        self._stored = stored
        self._desk = desk
        self._clock = clock
        self._young: dict[PlanKey, Plan] = {}
        self._old: dict[PlanKey, Plan] = {}
        self._numbers = itertools.count(1)
        # Purses with a lease; the keeper takes them out when it has ended it.
        self.active: set[Purse] = set()
        self._purses: WeakValueDictionary[str, Purse] = WeakValueDictionary()
        self._counters: WeakValueDictionary[str, Counter] = WeakValueDictionary()
        self._loading: dict[PlanKey, asyncio.Task[Plan]] = {}
        self._generation = 0

    def known(self, key: PlanKey) -> Plan | None:
        """The plan, if it is in memory."""
        plan = self._young.get(key)
        if plan is None and key in self._old:
            plan = self._old[key]
            self._keep(key, plan)
        return plan

    async def load(self, key: PlanKey) -> Plan:
        """The plan, from the store; StoreUnavailableError. Many at once ask only once."""
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key))
            self._loading[key] = task
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        return await asyncio.shield(task)

    def drop(self, subjects: Sequence[Subject]) -> None:
        """Forget the plans that any of these subjects is part of: their quotas changed."""
        self._generation += 1
        changed = frozenset(subjects)
        for plans in (self._young, self._old):
            for key in [key for key, plan in plans.items() if plan.subjects & changed]:
                del plans[key]

    def redeclare(self, declared: Mapping[Subject, Sequence[Quota]]) -> None:
        """The configuration declares other quotas from now on; what is leased and spent stays."""
        self._declared = declared
        self._generation += 1
        self._young, self._old = {}, {}

    def counters(self) -> list[Counter]:
        """Soft and shadow quotas in use."""
        return list(self._counters.values())

    def quotas(self) -> list[Quota]:
        """Quotas in use, of every mode."""
        return [one.quota for kind in (self._purses, self._counters) for one in kind.values()]

    async def _load(self, key: PlanKey) -> Plan:
        generation = self._generation
        tenant, name, route = key
        subjects = (("tenant", tenant), ("key", f"{tenant}:{name}"), ("route", route))
        stored: Sequence[Quota] = ()
        if self._stored is not None:
            stored = await asyncio.to_thread(self._stored.of, subjects)
        # Read last: what was declared before the store answered may hold no more.
        declared = [quota for subject in subjects for quota in self._declared.get(subject, ())]
        quotas = [*declared, *stored]
        plan = self._plan(frozenset(subjects), quotas)
        # Not kept where something changed meanwhile: it may be out of date already.
        if generation == self._generation:
            self._keep(key, plan)
        return plan

    def _plan(self, subjects: frozenset[Subject], quotas: Sequence[Quota]) -> Plan:
        unique = {quota.id: quota for quota in reversed(quotas)}.values()
        hard = sorted((q for q in unique if q.mode == "hard"), key=lambda q: _LENGTH[q.window])
        purses = [(self._purse(quota), _UNITS[quota.unit]) for quota in hard]
        rates = [purse for purse, _ in purses if not purse.quota.is_budget]
        return Plan(
            subjects=subjects,
            purses=tuple(purses),
            counters=tuple((self._counter(q), _UNITS[q.unit]) for q in unique if q.mode != "hard"),
            budget=next((quota for quota in hard if quota.unit == "usd"), None),
            requests=tuple(purse for purse in rates if purse.quota.unit == "requests"),
            tokens=tuple(purse for purse in rates if purse.quota.unit == "tokens"),
        )

    def _purse(self, quota: Quota) -> Purse:
        purse = self._purses.get(quota.id)
        if purse is None:
            purse = Purse(quota, self._desk, self._clock, self._numbers, self.active)
            self._purses[quota.id] = purse
        elif quota.limit < purse.quota.limit:
            # What was leased under the higher limit goes back: the store grants by the new one.
            purse.retire()
        purse.quota = quota
        return purse

    def _counter(self, quota: Quota) -> Counter:
        counter = self._counters.get(quota.id)
        if counter is None:
            counter = Counter(quota)
            self._counters[quota.id] = counter
        counter.quota = quota
        return counter

    def _keep(self, key: PlanKey, plan: Plan) -> None:
        if len(self._young) >= _MOST:
            self._old, self._young = self._young, {}
        self._young[key] = plan
