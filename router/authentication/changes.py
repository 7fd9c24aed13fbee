"""Hears of changed keys and tenants within a second, in every process, off the hot path."""

import asyncio
import contextlib
from collections.abc import Callable

from router.domain.clock import Clock
from router.domain.errors import EmbedwayError
from router.domain.ports import KeyDirectory
from router.policy.key_cache import KeyCache

# Revocation is promised within 2 s: one interval, one query, and room for a busy machine.
INTERVAL_S = 0.5
_TIMEOUT_S = 1.0


class ChangeWatch:
    """Asks the store again and again what has changed, and makes the cache forget it."""

    def __init__(
        self,
        directory: KeyDirectory,
        cache: KeyCache,
        clock: Clock,
        max_staleness_s: float,
        report: Callable[[bool], None],
    ) -> None:
        """`report` is told when the store can be asked no more, and when it can again."""
        self._directory = directory
        self._cache = cache
        self._clock = clock
        self._max_staleness_s = max_staleness_s
        self._report = report
        self._revision: int | None = None
        self._is_reachable = True
        self._task: asyncio.Task[None] | None = None
        self.trusted_until_s = float("-inf")
        """Monotonic time up to which what is in memory may be believed."""

    @property
    def is_reachable(self) -> bool:
        """Whether the store answered when it was last asked."""
        return self._is_reachable

    async def start(self) -> None:
        """Ask once, then go on in the background; a store that is down does not stop a start."""
        await self.poll()
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def poll(self) -> None:
        """Ask once; a store that cannot be reached leaves things as they are."""
        # Read before the store is asked: what changes meanwhile is in the next answer.
        asked_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                changes = await self._directory.changes(self._revision)
        except (EmbedwayError, TimeoutError):
            self._tell(is_reachable=False)
            return
        if not changes.is_complete:
            self._cache.forget_all()
        for digest in changes.digests:
            self._cache.forget(digest)
        for tenant in changes.tenants:
            self._cache.forget_tenant(tenant)
        self._revision = changes.revision
        self.trusted_until_s = asked_s + self._max_staleness_s
        self._tell(is_reachable=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.poll()
            except Exception:  # noqa: BLE001 - the top of a worker loop; without it nobody listens
                self._tell(is_reachable=False)

    def _tell(self, *, is_reachable: bool) -> None:
        if is_reachable != self._is_reachable:
            self._is_reachable = is_reachable
            self._report(is_reachable)
