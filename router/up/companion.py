"""A program beside the stack: watched and started again, and never a reason to end the stack."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.up.dependent import command_of
from router.up.progress import Stages

_POLL_S = 0.05
_STOP_TIMEOUT_S = 5.0
_BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True)
class Program:
    """What is run: `name` is for people and names the log, `port` is one that it listens on."""

    name: str
    command: Sequence[str]
    port: int


class Companion:
    """One such program; `start` must run on the event loop's thread (see dependent.py)."""

    def __init__(
        self, program: Program, folder: Path, environment: Mapping[str, str], stages: Stages
    ) -> None:
        """`folder` gets its log, and is its working directory."""
        self._program = program
        self._folder = folder
        self._environment = dict(environment)
        self._stages = stages
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None
        self.log = folder / f"{program.name.lower()}.log"

    @property
    def process_id(self) -> int | None:
        """Process id that leads its group (see dependent.py); None while it does not run."""
        return self._process.pid if self._process is not None else None

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    async def start(self, timeout_s: float) -> bool:
        """Start and watch it; whether it listened in time. Where it did not, a note tells so."""
        self._launch()
        self._watch = asyncio.create_task(self._keep_alive())
        if await self._listens(timeout_s):
            return True
        self._stages.note(f"{self._program.name} does not answer yet: see {self.log}")
        return False

    async def stop(self, hurry: asyncio.Event) -> None:
        """End it, kindly at first and at once when `hurry` is set; safe to call at any time."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._process is None:
            return
        self._process.terminate()
        ends = [asyncio.create_task(self._ended()), asyncio.create_task(hurry.wait())]
        try:
            await asyncio.wait(ends, timeout=_STOP_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            self._kill()

    def _launch(self) -> None:
        self._kill()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command_of(self._program.command, _STOP_TIMEOUT_S),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def _keep_alive(self) -> None:
        for pause_s in _BACKOFF_S:
            await self._ended()
            self._stages.note(f"{self._program.name} ended unexpectedly: starting it again")
            await asyncio.sleep(pause_s)
            self._launch()
        await self._ended()
        self._stages.note(f"{self._program.name} keeps failing and is left alone: see {self.log}")

    async def _ended(self) -> None:
        # Polled: the end of a child is learned by asking the kernel, and nothing sets an event.
        while self.is_running():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    async def _listens(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                # Nothing tells that a program listens but trying.
                while not await _accepts(self._program.port):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
                return True
        return False

    def _kill(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
