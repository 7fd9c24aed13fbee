"""What is checked, shown and printed around a start."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from benchmarks.processes import free_port
from router.domain.clock import SystemClock
from router.telemetry.logs import Log
from router.up.demo import Hit, as_table
from router.up.errors import UpError
from router.up.interrupts import Interrupts, finish_unless
from router.up.launch import check_ports
from router.up.progress import LoggedStages
from router.up.welcome import welcome


def test_a_taken_port_is_named() -> None:
    """The first port that somebody listens on is named; free ones pass."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free, port = free_port(), taken.getsockname()[1]
        with pytest.raises(UpError, match=f"port {port} on 127.0.0.1 cannot be used"):
            check_ports("127.0.0.1", free, port)
        check_ports("127.0.0.1", free, 0)


@pytest.mark.parametrize("port", [70_000, -1], ids=["too high", "negative"])
def test_what_is_no_port_is_named(port: int) -> None:
    """A number that is no port is refused before anything starts."""
    with pytest.raises(UpError, match=f"port {port} on 127.0.0.1 cannot be used"):
        check_ports("127.0.0.1", port)


def test_two_doors_need_two_ports() -> None:
    """The same port for HTTP and gRPC is refused before anything starts."""
    port = free_port()
    with pytest.raises(UpError, match=f"port {port} on 127.0.0.1 cannot be used"):
        check_ports("127.0.0.1", port, port)


def test_an_unknown_address_is_one_sentence() -> None:
    """An address of another machine is refused before anything starts."""
    with pytest.raises(UpError, match=r"port 8080 on 192\.0\.2\.1 cannot be used"):
        check_ports("192.0.2.1", 8080)


def test_a_given_key_is_not_shown() -> None:
    """The example names the variable where the key was given, and the key where it is new."""
    assert 'os.environ["EMBEDWAY_API_KEY"]' in welcome("http://h/v1", None, "m")
    assert welcome("http://h/v1", "ew-new", "m").count("ew-new") == 2


def test_the_example_is_python() -> None:
    """The two lines to copy compile."""
    for key in (None, "ew-new"):
        compile("\n".join(welcome("http://h/v1", key, "m").splitlines()[4:]), "example", "exec")


def test_a_closed_output_is_no_failure() -> None:
    """Whoever reads the output may leave; what is told afterwards goes nowhere."""
    code = "from router.up.welcome import tell; input(); tell('one'); tell('two')"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, complaint = process.communicate(b"\n")
    assert (process.returncode, complaint) == (0, b"")


def test_the_table_has_a_row_a_hit() -> None:
    """Score, language and text of every document are shown."""
    assert as_table([Hit(0.5, "English", "a"), Hit(0.1, "German", "b")]).row_count == 2


def test_stages_are_structured() -> None:
    """Without a terminal a stage is two lines of JSON, the second with its seconds."""
    stream = io.BytesIO()
    stages = LoggedStages(Log(SystemClock(), stream), SystemClock())
    with stages.stage("loading"):
        pass
    began, done = map(json.loads, stream.getvalue().splitlines())
    assert (began["event"], done["event"]) == ("stage_started", "stage_done")
    assert done["seconds"] >= 0


async def test_two_signals_are_told_apart() -> None:
    """The first signal asks for a clean end, the second for a quick one."""
    interrupts = Interrupts()
    with interrupts.caught():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(interrupts.first.wait(), 30)
        assert not interrupts.second.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(interrupts.second.wait(), 30)


async def test_work_ends_with_the_event() -> None:
    """Work is cancelled when the event is set, finished otherwise, and its errors pass."""
    event = asyncio.Event()
    assert await finish_unless(asyncio.sleep(0), event)

    async def fail() -> None:
        raise UpError("no")

    with pytest.raises(UpError, match="no"):
        await finish_unless(fail(), event)
    event.set()
    assert not await finish_unless(asyncio.sleep(60), event)
