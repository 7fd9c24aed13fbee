"""Programs beside the stack."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.processes import free_port
from router.up import companion
from router.up.companion import Companion, Program
from router.up.progress import Stages

_SERVE = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
while True:
    server.accept()[0].close()
"""


class _Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, what: str) -> None:
        raise AssertionError(what)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


def _companion(folder: Path, stages: Stages, code: str) -> Companion:
    port = free_port()
    command = [sys.executable, "-c", code, str(port)]
    return Companion(Program("Helper", command, port), folder, os.environ, stages)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_it_comes_back(tmp_path: Path) -> None:
    """Killed -9, it is started again with a note, and ended it stays ended."""
    notes = _Notes()
    helper = _companion(tmp_path, notes, _SERVE)
    assert await helper.start(60)
    before = helper.process_id
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await _until(lambda: helper.is_running() and helper.process_id != before)
    await helper.stop(asyncio.Event())
    assert not helper.is_running()
    assert notes.notes == ["Helper ended unexpectedly: starting it again"]


async def test_one_that_does_not_start_is_a_note(tmp_path: Path) -> None:
    """A program that fails at once is told about, and nothing is raised."""
    notes = _Notes()
    helper = _companion(tmp_path, notes, "import sys; sys.exit('no such option')")
    assert not await helper.start(0.5)
    await _until(lambda: "no such option" in helper.log.read_text())
    await helper.stop(asyncio.Event())
    assert f"Helper does not answer yet: see {tmp_path / 'helper.log'}" in notes.notes


async def test_one_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ignores SIGTERM is ended at once when there is a hurry."""
    monkeypatch.setattr(companion, "_STOP_TIMEOUT_S", 60.0)
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + _SERVE
    helper = _companion(tmp_path, _Notes(), ignoring)
    assert await helper.start(60)
    hurry = asyncio.Event()
    hurry.set()
    async with asyncio.timeout(20):
        await helper.stop(hurry)
    assert not helper.is_running()
