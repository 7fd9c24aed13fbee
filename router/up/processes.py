"""Runs helper programs (pip, the compiler, the model card reader) and gives back what they said."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.up.errors import UpError


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str

    def last_line(self) -> str:
        """The last line that says something, errors first."""
        lines = [line.strip() for line in (self.stdout + "\n" + self.stderr).splitlines()]
        return next((line for line in reversed(lines) if line), f"exit status {self.status}")


async def run_program(
    command: Sequence[str], environment: Mapping[str, str], *, show_stderr: bool = False
) -> Finished:
    """Run to the end; a program whose caller is cancelled is killed. UpError if it is not there.

    `show_stderr` leaves standard error to the terminal, for programs with a progress bar.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if show_stderr else asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise UpError(f"{command[0]} cannot be run: {error.strerror}") from error
    try:
        stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return Finished(process.returncode or 0, _text(stdout), _text(stderr))


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")
