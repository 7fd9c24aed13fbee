"""Shows how far a start has come: live on a terminal, one line of JSON an event elsewhere."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from router.domain.clock import Clock
from router.telemetry.logs import Log


class Stages(Protocol):
    """Where a start says what it is doing."""

    def stage(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Show `what` with its seconds, for as long as the context lasts."""
        ...

    def note(self, sentence: str) -> None:
        """Tell what happened outside any stage."""
        ...


class TerminalStages:
    """A spinner with seconds, and a tick for what is done."""

    def __init__(self, console: Console) -> None:
        """`console` is the terminal's standard error."""
        self._console = console

    @contextlib.contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Show one running line; it stays, ticked, when the stage is done."""
        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"))
        with Progress(*columns, TimeElapsedColumn(), console=self._console) as progress:
            task = progress.add_task(what, total=1)
            yield
            progress.update(task, completed=1)

    def note(self, sentence: str) -> None:
        """Write one line."""
        self._console.print(f"embedway: {sentence}", markup=False, highlight=False)


class LoggedStages:
    """Structured lines, for a file, a pipe or a service manager."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    @contextlib.contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Write a line at the beginning and one, with the seconds, at the end."""
        began_s = self._clock.monotonic_s()
        self._log.event("stage_started", stage=what)
        yield
        seconds = round(self._clock.monotonic_s() - began_s, 2)
        self._log.event("stage_done", stage=what, seconds=seconds)

    def note(self, sentence: str) -> None:
        """Write one line."""
        self._log.event("note", message=sentence)


def stages_for_stderr(log: Log, clock: Clock) -> Stages:
    """What fits where standard error goes."""
    if sys.stderr.isatty():
        return TerminalStages(Console(stderr=True))
    return LoggedStages(log, clock)
