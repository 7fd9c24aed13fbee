"""Something that requests can do without: left alone while it is ill, and asked by a probe.

Requests never find out whether it is well again: a task does, with pauses that double while it
stays ill or falls ill again soon.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from router.domain.clock import Clock
from router.domain.errors import EmbedwayError
from router.routing.breaker import Breaker, BreakerLimits

_PROBE_TIMEOUT_S = 1.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
# Ill again within this time, it has not been well.
_PROOF_S = 30.0
# Its calls have no numbers: only the probe here closes its breaker.
_UNNUMBERED = 0


class Bystander:
    """Well or ill; it begins ill, and is asked at once."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        clock: Clock,
        report: Callable[[bool, str | None], None],
    ) -> None:
        """`probe` raises an EmbedwayError where it is ill; `report` hears of each change."""
        self._probe = probe
        self._clock = clock
        self._report = report
        self._breaker = Breaker(BreakerLimits())
        self._is_ill = asyncio.Event()
        self._is_ill.set()
        self._well_since_s = 0.0
        self._pause_s = 0.0
        self._is_known = False
        self._task: asyncio.Task[None] | None = None
        self.is_well = False

    def start(self) -> None:
        """Look after it from now on; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._mend())

    async def close(self) -> None:
        """Look after it no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def succeeded(self) -> None:
        """A request was served by it."""
        self._breaker.succeeded(_UNNUMBERED)

    def failed(self, error: Exception) -> None:
        """A request was not."""
        if not self.is_well:
            return
        now_s = self._clock.monotonic_s()
        self._breaker.failed(_UNNUMBERED, now_s)
        if not self._breaker.is_closed:
            self.is_well = False
            if now_s - self._well_since_s > _PROOF_S:
                self._pause_s = _FIRST_PAUSE_S
            self._report(False, _reason(error))
            self._is_ill.set()

    async def _mend(self) -> None:
        while True:
            await self._is_ill.wait()
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause_s))
            error = await self._asked()
            if error is not None:
                if not self._is_known:
                    self._report(False, _reason(error))
            else:
                self._breaker.reset()
                self._is_ill.clear()
                self._well_since_s = self._clock.monotonic_s()
                self.is_well = True
                self._report(True, None)
            self._is_known = True

    async def _asked(self) -> Exception | None:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await self._probe()
        except (TimeoutError, EmbedwayError) as error:
            return error
        return None


def _reason(error: Exception) -> str:
    return "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
