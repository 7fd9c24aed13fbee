"""What the supervisor does where a worker cannot be started at all."""

import asyncio
import io
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from router.config.settings import Server
from router.domain.clock import SystemClock
from router.domain.serving import WorkerPlace
from router.reloading.board import report_path
from router.telemetry.logs import Log
from router.workers.supervisor import Supervisor


@dataclass
class Supervised:
    """A supervisor of one worker; the program that it starts is there once a test makes it."""

    folder: Path
    program: Path
    log: io.BytesIO = field(default_factory=io.BytesIO)

    def supervisor(self) -> Supervisor:
        clock, place = SystemClock(), WorkerPlace(0, 1, self.folder, 1, None)
        config = self.folder / "embedway.yaml"
        return Supervisor(config, Server(), [place], clock, Log(clock, self.log))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.log.getvalue().splitlines())
                if line["event"] == name]  # fmt: skip

    def make_program(self) -> None:
        new = self.program.with_suffix(".new")
        new.write_text("#!/bin/sh\nexec sleep 60\n")
        new.chmod(0o755)
        new.replace(self.program)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervised:
    """Its program cannot be executed yet."""
    program = tmp_path / "program"
    monkeypatch.setattr(sys, "executable", str(program))
    return Supervised(tmp_path, program)


async def test_a_worker_that_could_not_be_started_is_tried_again(supervised: Supervised) -> None:
    """It had served before; the machine refuses its successor for a while, and not for good."""
    report_path(supervised.folder, 0).write_text("{}")
    supervisor = supervised.supervisor()
    running = asyncio.create_task(supervisor.run())
    await supervised.until(lambda: supervised.events("worker_ended"))
    assert supervised.events("worker_not_started")[0]["reason"] == "No such file or directory"
    assert supervised.events("worker_ended")[0]["status"] is None
    supervised.make_program()
    await supervised.until(lambda: supervisor._running)
    supervisor._stop(signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await running == 0


async def test_a_first_start_that_is_refused_ends_with_a_reason(supervised: Supervised) -> None:
    """What never could be started is not tried for ever: status 1, and the log has the reason."""
    async with asyncio.timeout(60):
        assert await supervised.supervisor().run() == 1
    (line,) = supervised.events("worker_not_started")
    assert line["reason"] == "No such file or directory"
