"""Watches targets: asks each again and again whether it is ready, and keeps the last answer."""

import asyncio
from collections.abc import Callable, Mapping

from router.domain.ports import Upstream

# How old an answer may be: a dead target is found, and a restarted one used, within about this.
INTERVAL_S = 0.5

Report = Callable[[str, bool], None]


class HealthWatch:
    """The last known readiness of every target; unknown counts as not ready."""

    def __init__(self, upstreams: Mapping[str, Upstream], report: Report) -> None:
        """`report(name, ready)` is called whenever a target's readiness changes."""
        self._upstreams = upstreams
        self._report = report
        self._ready = dict.fromkeys(upstreams, False)
        self._unasked = set(upstreams)
        self._tasks: list[asyncio.Task[None]] = []

    def is_ready(self, name: str) -> bool:
        """Whether the target last said that it is ready."""
        return self._ready[name]

    @property
    def has_asked_all(self) -> bool:
        """Whether each target has answered once, or failed to."""
        return not self._unasked

    def assume_ready(self) -> None:
        """Take every target for ready until it says otherwise."""
        self._ready = dict.fromkeys(self._ready, True)

    def assume(self, ready: Mapping[str, bool]) -> None:
        """Go on from what another watch knew of some of the targets."""
        self._ready.update(ready)

    def start(self) -> None:
        """Begin to watch; needs a running event loop."""
        self._tasks = [
            asyncio.get_running_loop().create_task(self._watch(name)) for name in self._upstreams
        ]

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._ask(name)
            except Exception as error:  # noqa: BLE001 - the top of a worker loop
                # Nobody else would ever ask this target again.
                loop.call_exception_handler({"message": "watching a target", "exception": error})
            await asyncio.sleep(INTERVAL_S)

    async def _ask(self, name: str) -> None:
        ready = await self._upstreams[name].ready()
        self._unasked.discard(name)
        if ready is not self._ready[name]:
            self._ready[name] = ready
            self._report(name, ready)
