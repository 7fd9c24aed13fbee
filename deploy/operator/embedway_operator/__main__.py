"""`python -m embedway_operator`: builds, wires, starts and closes everything.

Settings come from the environment: EMBEDWAY_NAMESPACE, EMBEDWAY_RELEASE and POD_NAME;
EMBEDWAY_ROUTERS_BY_ANNOTATION=1 takes routers' addresses from their pods' annotations. Of models'
pods, EMBEDWAY_MIN_READY_S are the seconds that a new one serves before a roll goes on, and
EMBEDWAY_DISRUPTION_BUDGETS=0 makes no PodDisruptionBudgets for them.
"""

import asyncio
import contextlib
import functools
import logging
import signal
import sys
import threading
from collections.abc import Mapping

from embedway_operator.client import Cluster
from embedway_operator.credentials import login
from embedway_operator.election import RETRY_S, Election
from embedway_operator.log import Log
from embedway_operator.names import Installation
from embedway_operator.observer import Observer
from embedway_operator.reconciler import Alarm, Reconciler
from embedway_operator.refusals import Refusals
from embedway_operator.routers import Routers, annotated_address, pod_address
from embedway_operator.watching import watch
from router.config.environment import process_environment
from router.domain.clock import SystemClock
from router.domain.errors import ConfigurationError


class Operator:
    """One process; it works while it leads, and waits while another does."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """ConfigurationError where the environment does not say which installation is meant."""
        self._installation = installation_of(environment)
        clock = SystemClock()
        self._log = Log(clock, sys.stderr)
        by_annotation = environment.get("EMBEDWAY_ROUTERS_BY_ANNOTATION") == "1"
        self._routers = Routers(annotated_address if by_annotation else pod_address)
        self._cluster = Cluster(login, self._installation.namespace)
        self._election = Election(
            self._cluster, self._installation.lease, self._installation.namespace,
            _named(environment, "POD_NAME"), clock, self._log,
        )  # fmt: skip
        self._alarm = Alarm()
        observer = Observer(self._cluster, self._routers, self._installation, clock)
        self._reconciler = Reconciler(
            observer, self._cluster, self._election, self._alarm, self._log, Refusals(clock)
        )

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                if await self._election.try_to_lead():
                    self._log.event("leading")
                    await self._lead()
                    self._log.event("not_leading")
                await asyncio.sleep(RETRY_S)
        finally:
            await self._election.step_down()
            await self._routers.close()
            await self._cluster.close()

    async def _lead(self) -> None:
        """Watch and work until the Lease is lost. An end of any of the three is the end of all."""
        stop = threading.Event()
        tasks = [
            asyncio.create_task(one)
            for one in (self._renew(), self._reconciler.run(), self._watch(stop))
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            for task in tasks[:2]:
                task.cancel()
            await asyncio.wait(tasks, timeout=10)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            # A fault of ours ends the process, and its pod starts anew.
            task.result()

    async def _renew(self) -> None:
        # A Lease is renewed by the clock; there is no event to wait for.
        while await self._election.try_to_lead():  # noqa: ASYNC110
            await asyncio.sleep(RETRY_S)

    async def _watch(self, stop: threading.Event) -> None:
        """Kopf in a thread and a loop of its own: in ours it would take the process's signals."""
        ring = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, self._alarm.ring)
        await asyncio.to_thread(watch, self._installation, ring, stop)


def installation_of(environment: Mapping[str, str]) -> Installation:
    """The one that the operator's pod is told of; ConfigurationError."""
    min_ready = environment.get("EMBEDWAY_MIN_READY_S", "0")
    if not (min_ready.isascii() and min_ready.isdigit()):
        raise ConfigurationError(f"EMBEDWAY_MIN_READY_S: {min_ready!r} is no number of seconds")
    return Installation(
        _named(environment, "EMBEDWAY_NAMESPACE"),
        _named(environment, "EMBEDWAY_RELEASE"),
        min_ready_s=int(min_ready),
        has_disruption_budgets=environment.get("EMBEDWAY_DISRUPTION_BUDGETS") != "0",
    )


def _named(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigurationError(f"environment variable {name} is empty")
    return value


async def serve(environment: Mapping[str, str]) -> None:
    """Run until SIGTERM or SIGINT; the Lease is given back on the way out."""
    task = asyncio.create_task(Operator(environment).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Exit code 0 after a signal, 2 where the environment is wrong."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        asyncio.run(serve(process_environment()))
    except ConfigurationError as error:
        sys.stderr.write(f"embedway-operator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
