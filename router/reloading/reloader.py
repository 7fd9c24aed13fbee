"""Watches the configuration file, and hands each good one to the router; the last good one stays.

A bad file changes nothing: it is logged, and told as `pending_error` until it is mended.
"""

import asyncio
from collections.abc import Awaitable, Callable

from router.config.changes import require_reloadable
from router.config.file import ConfigurationFile, Loaded, Look, hash_of, loaded_from
from router.domain.errors import ConfigurationError
from router.reloading.board import Board
from router.telemetry.logs import Log

INTERVAL_S = 1.0

# Serves a configuration from now on; ConfigurationError, and then the one before is still served.
Take = Callable[[Loaded], Awaitable[None]]


class Reloader:
    """The way from the file to the router. `first` comes before everything else."""

    def __init__(self, file: ConfigurationFile, board: Board, log: Log) -> None:
        self._file = file
        self._board = board
        self._log = log
        self._seen: Look | None = None
        self._served: Look | None = None
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.newest: str | None = None
        """Hash of the newest valid file, served or not."""
        self.pending_error: str | None = None

    def first(self) -> Loaded:
        """What to serve at first; ConfigurationError.

        That is the file; but a worker that starts again beside others serves what they do, where
        they could not take the file, or a secret that it names is not there yet.
        """
        data = self._file.look().data
        last_good = self._board.last_good()
        try:
            loaded = self._file.load(data)
            if last_good is not None:
                require_reloadable(loaded_from(last_good, "last").settings, loaded.settings)
                if data != last_good:
                    self._file.require_named()
        except ConfigurationError as error:
            if last_good is None:
                raise
            self._refused(error)
            loaded = loaded_from(last_good, str(self._file.path))
        # The files that it names are read after this, when it is built: a change between is seen.
        self._seen = self._file.look_beside(data)
        self._served = self._seen if self.pending_error is None else None
        self.newest = loaded.hash
        return loaded

    def on_disk(self) -> str | None:
        """Hash of the file as it lies there at this moment, good or bad; None where it is gone."""
        data = self._file.data()
        return None if data is None else hash_of(data)

    def start(self, take: Take) -> None:
        """Watch the file from now on."""
        self._task = asyncio.create_task(self._watch(take))

    def poke(self) -> None:
        """Look at once."""
        self._poke.set()

    async def close(self) -> None:
        """Stop watching; a change on its way is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self, take: Take) -> None:
        """Look once, and take what has changed."""
        look = await asyncio.to_thread(self._file.look)
        if look == self._seen:
            return
        try:
            loaded = await asyncio.to_thread(self._file.load, look.data)
            self.newest = loaded.hash
            # Before it is built, which reads the files that it names: a change between is seen.
            look = await asyncio.to_thread(self._file.look_beside, look.data)
            if look != self._served:
                await take(loaded)
        except ConfigurationError as error:
            self._seen = look
            self._refused(error)
            return
        self._seen = self._served = look
        self.pending_error = None

    def _refused(self, error: Exception) -> None:
        self.pending_error = str(error)
        self._log.event("configuration_refused", reason=self.pending_error)

    async def _watch(self, take: Take) -> None:
        while True:
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._poke.wait()
            except TimeoutError:
                pass
            self._poke.clear()
            try:
                await self.look(take)
            except Exception as error:  # noqa: BLE001 - the top of a worker loop
                self._log.event("defect", method="reload", error=type(error).__name__)
