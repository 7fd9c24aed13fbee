"""Processes that tests start beside themselves: they end with the tests, whatever happens."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from router.up.dependent import command_of

_PATIENCE_S = 30.0


class Child:
    """One process and its log; the kernel ends it when the test process is gone."""

    def __init__(
        self,
        log: Path,
        command: list[str | Path],
        environment: Mapping[str, str] | None = None,
        keep: tuple[int, ...] = (),
    ) -> None:
        """Start it; call from a thread that lives as long as the process should.

        `keep` are file descriptors that it inherits.
        """
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command_of([*map(str, command)], _PATIENCE_S),
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=keep,
            )

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would, and whatever it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, timeout_s: float = 20.0) -> int:
        """Ask it to end, and make it after `timeout_s`; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> int:
        """Its exit code; it is made to end after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
