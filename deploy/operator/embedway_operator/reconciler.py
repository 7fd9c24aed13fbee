"""Looks, plans and writes, again and again: on every change, and from time to time without one."""

import asyncio
from dataclasses import replace
from typing import Protocol

from embedway_operator.election import Election
from embedway_operator.errors import ClusterError, NotLeadingError
from embedway_operator.execution import Writer, carry_out
from embedway_operator.log import Log
from embedway_operator.observed import Observed
from embedway_operator.plan import Plan, plan
from embedway_operator.refusals import Refusals

# Changes that arrive together are looked at together.
_GATHERED_S = 0.2
# Routers are asked again soon while they have not all acknowledged; the rest is seen by watches.
_UNSETTLED_S = 2.0
_RESYNC_S = 15.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0


class Alarm:
    """A queue of one key: the installation. Any number of calls is one piece of work."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Something has changed."""
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        """Until it rings, or the time is over."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
            await asyncio.sleep(_GATHERED_S)
        except TimeoutError:
            pass
        self._event.clear()


class Eyes(Protocol):
    """Who looks at the cluster."""

    async def look(self) -> Observed:
        """The cluster now; ClusterError."""
        ...


class Reconciler:
    """One installation's work, while it leads."""

    def __init__(
        self, observer: Eyes, cluster: Writer, election: Election, alarm: Alarm, log: Log,
        refusals: Refusals,
    ) -> None:  # fmt: skip
        self._observer = observer
        self._cluster = cluster
        self._election = election
        self._alarm = alarm
        self._log = log
        self._refusals = refusals

    async def run(self) -> None:
        """Work until we do not lead any more."""
        failures = 0
        while self._election.is_leading():
            pause_s = _RESYNC_S
            try:
                pause_s = await self.work()
                failures = 0
            except NotLeadingError:
                return
            except ClusterError as error:
                failures += 1
                pause_s = min(_FIRST_BACKOFF_S * 2**failures, _LONGEST_BACKOFF_S)
                self._log.event("reconcile_failed", error=str(error), status=error.status)
                await asyncio.sleep(min(pause_s, _UNSETTLED_S))
            await self._alarm.wait(pause_s)

    async def work(self) -> float:
        """One look, one plan, and its writes; ClusterError. Seconds until the next look."""
        observed = await self._observer.look()
        made = plan(replace(observed, refusals=self._refusals.told()))
        due = [one for one in made.writes if not self._refusals.holds(one)]
        refused = await carry_out(
            made.writes, self._cluster, self._election.is_leading, self._refusals
        )
        for error in refused:
            self._log.event("write_refused", error=str(error), status=error.status)
        if due:
            self._log.event(
                "reconciled", writes=len(due), refused=len(refused), generation=made.generation
            )
        return self._pause_s(made, is_busy=bool(due))

    def _pause_s(self, made: Plan, *, is_busy: bool) -> float:
        """Long where nothing is to be done but what was refused, and that only at its time."""
        if is_busy or not made.is_served:
            return _UNSETTLED_S
        return min(_RESYNC_S, max(self._refusals.next_in_s(), _GATHERED_S))
