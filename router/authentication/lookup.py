"""Questions to the store, joined: one query at a time, for all that wait, each asked for once.

So a store sees one connection's worth of look-ups from a process, whatever strangers send.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from router.domain.errors import EmbedwayError, KeysUnavailableError

Name = TypeVar("Name", bound=Hashable)
Answer = TypeVar("Answer")

# One statement of this many parameters is still cheap; it bounds what a slow query holds up.
_MOST_A_QUERY = 128
_MOST_WAITING = 1024


class Lookup(Generic[Name, Answer]):
    """Finds things by name; waiters for one name share one answer."""

    def __init__(
        self,
        ask: Callable[[Sequence[Name]], Awaitable[Mapping[Name, Answer]]],
        timeout_s: float,
        keep: Callable[[Name, Answer | None, int], None],
        revision: Callable[[], int],
    ) -> None:
        """`keep` is given each answer and the `revision` from before it was asked for."""
        self._ask = ask
        self._timeout_s = timeout_s
        self._keep = keep
        self._revision = revision
        self._waiting: dict[Name, asyncio.Future[Answer | None]] = {}
        self._asked: dict[Name, asyncio.Future[Answer | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, name: Name) -> Answer | None:
        """What has that name, or None; KeysUnavailableError where nobody can say."""
        future = self._asked.get(name) or self._waiting.get(name) or self._queued(name)
        # A client that leaves takes only itself away.
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Stop asking; who still waits is told that nobody can say."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail(None)

    def _queued(self, name: Name) -> "asyncio.Future[Answer | None]":
        if len(self._waiting) >= _MOST_WAITING:
            raise KeysUnavailableError("too many unknown keys are being looked up: try again soon")
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        # An error that no waiter is left to take is nobody's loss.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting[name] = future
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return future

    async def _work(self) -> None:
        while self._waiting:
            names = list(self._waiting)[:_MOST_A_QUERY]
            self._asked = {name: self._waiting.pop(name) for name in names}
            await self._answer(names)
            self._asked = {}

    async def _answer(self, names: list[Name]) -> None:
        revision = self._revision()
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._ask(names)
        except (EmbedwayError, TimeoutError) as error:
            self._fail(error)
            return
        except BaseException:
            self._fail(None)
            raise
        for name, future in self._asked.items():
            answer = found.get(name)
            self._keep(name, answer, revision)
            if not future.done():
                future.set_result(answer)

    def _fail(self, cause: BaseException | None) -> None:
        """Tell all who wait: whoever is next would only wait as long for as little."""
        error = KeysUnavailableError("the key cannot be looked up right now")
        error.__cause__ = cause
        for future in (*self._asked.values(), *self._waiting.values()):
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
