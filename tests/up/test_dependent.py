"""Programs that live no longer than we do: what they hear, and how their end is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from router.up.dependent import command_of
from tests.support.families import living

_PATIENCE_S = 1.0
# Says that it hears, and 0.3 s after the last SIGTERM how many there were.
_COUNTS = """
import signal, sys
place, heard = sys.argv[1], signal.SIGTERM
signal.pthread_sigmask(signal.SIG_BLOCK, [heard])
open(place, "w").write("ready")
signal.sigwait([heard])
count = 1
while signal.sigtimedwait([heard], 0.3):
    count += 1
open(place, "w").write(str(count))
"""
# A parent of many threads, which die one after the other when it is killed.
_PARENT = """
import subprocess, sys, threading, time
from router.up.dependent import command_of
for _ in range(40):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
subprocess.Popen(command_of(sys.argv[2:], float(sys.argv[1])), start_new_session=True)
time.sleep(60)
"""
# Deaf to SIGTERM, and so is its own child, whose id it tells.
_DEAF = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    open(sys.argv[1], "w").write(f"{os.getpid()} {child}")
time.sleep(60)
"""


def _python(program: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", program, *map(str, arguments)]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command_of(command, _PATIENCE_S), start_new_session=True)


def _parent_of(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(_python(_PARENT, _PATIENCE_S, *command))


def _read(place: Path, not_this: str = "") -> str:
    deadline_s = time.monotonic() + 60
    while not place.exists() or (text := place.read_text()) in {"", not_this}:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return text


@pytest.mark.parametrize("code", [0, 3])
def test_its_exit_code(code: int) -> None:
    """The exit code is the program's."""
    assert _start(_python(f"raise SystemExit({code})")).wait(60) == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM])
def test_the_signal_that_ended_it(number: signal.Signals) -> None:
    """A program that was ended by a signal is told as ended by that signal."""
    assert _start(_python(f"import os; os.kill(os.getpid(), {number:d})")).wait(60) == -number


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """Exit code 127 and one sentence that names the program."""
    missing = str(tmp_path / "missing")
    done = subprocess.run(
        command_of([missing], _PATIENCE_S), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (127, f"{missing}: No such file or directory\n")


def test_many_signals_are_one(tmp_path: Path) -> None:
    """However often SIGTERM is sent, the program hears it once."""
    process = _start(_python(_COUNTS, tmp_path / "heard"))
    assert _read(tmp_path / "heard") == "ready"
    for _ in range(20):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.005)
    assert process.wait(60) == 0
    assert _read(tmp_path / "heard") == "1"


def test_the_death_of_many_threads_is_one_signal(tmp_path: Path) -> None:
    """Killed -9 with forty threads, the parent costs the program one SIGTERM."""
    for turn in range(5):
        place = tmp_path / str(turn)
        parent = _parent_of(_python(_COUNTS, place))
        assert _read(place) == "ready"
        parent.kill()
        parent.wait()
        assert _read(place, not_this="ready") == "1"


def test_a_deaf_program_is_killed_with_its_children(tmp_path: Path) -> None:
    """With the parent gone, what ignores SIGTERM ends after the patience, its children too."""
    place = tmp_path / "ids"
    parent = _parent_of(_python(_DEAF, place))
    family = [psutil.Process(int(number)) for number in _read(place).split()]
    began_s = time.monotonic()
    parent.kill()
    parent.wait()
    assert living(family) == []
    assert time.monotonic() - began_s > _PATIENCE_S * 0.9


def test_it_does_not_outlive_the_one_that_watches(tmp_path: Path) -> None:
    """Where the process between is killed alone, the program goes with it."""
    process = _start(_python(_DEAF, tmp_path / "ids"))
    program, child = (psutil.Process(int(one)) for one in _read(tmp_path / "ids").split())
    os.kill(process.pid, signal.SIGKILL)
    try:
        assert living([program]) == []
    finally:
        process.wait()
        child.kill()


def test_it_keeps_no_pipe_of_the_program(tmp_path: Path) -> None:
    """A pipe that only the program holds is at its end when the program closes it."""
    reader, writer = os.pipe()
    closes = _python(f"import os, time; os.close({writer}); time.sleep(60)")
    process = subprocess.Popen(
        command_of(closes, _PATIENCE_S), pass_fds=[writer], start_new_session=True
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b""
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
