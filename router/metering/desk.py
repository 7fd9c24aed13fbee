"""Where leases are asked for: asks that come together share one transaction, on one thread.

One thread, because the order counts: what is given back was reckoned from all grants before it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from router.domain.clock import Clock
from router.domain.errors import StoreUnavailableError
from router.domain.ports import Leases
from router.domain.quotas import Ask, Grant

_MOST_ASKS = 256

P = ParamSpec("P")
T = TypeVar("T")


class Desk:
    """The event loop's way to the leases in the store."""

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self.leases = leases
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "leases")
        self._queue: list[tuple[Ask, asyncio.Future[Grant]]] = []
        self._worker: asyncio.Task[None] | None = None
        self.granted = 0
        self.refused = 0
        self.failed = 0
        self.transactions = 0
        self.returned = 0

    async def take(self, ask: Ask) -> Grant:
        """The store's answer; StoreUnavailableError. No two for one window at the same time."""
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._queue.append((ask, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation of the leases after those that were begun before."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Let the thread go; what it has begun is finished."""
        self._thread.shutdown(wait=True)

    async def _work(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:_MOST_ASKS], self._queue[_MOST_ASKS:]
            asks = [ask for ask, _ in batch]
            self.transactions += 1
            try:
                grants = await self.run(self.leases.take, asks, self._clock.wall_s())
            except Exception as error:  # noqa: BLE001 - the top of a worker loop: nobody may hang
                self.failed += len(batch)
                for _, future in batch:
                    if not future.done():
                        future.set_exception(_told(error))
                continue
            for (_, future), grant in zip(batch, grants, strict=True):
                self.granted += grant.amount is not None
                self.refused += grant.amount is None
                if not future.done():
                    future.set_result(grant)


def _told(error: Exception) -> StoreUnavailableError:
    """An error for each who asked: one exception cannot be raised in many places."""
    if isinstance(error, StoreUnavailableError):
        return StoreUnavailableError(str(error))
    return StoreUnavailableError(f"quotas could not be asked for ({type(error).__name__})")
