"""The processes that are measured: started, pinned to a core, waited for, and ended by handle."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_ROOT = Path(__file__).parents[1]
_START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now.

    It is none of those that the kernel gives to connections by itself: until somebody listens on
    it, nobody's connection takes it.
    """
    first, last = 10_000, _first_given_port()
    while True:
        port = first + secrets.randbelow(last - first)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _first_given_port() -> int:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(path.read_text().split()[0]) if path.exists() else 49_152
    # Where nearly all are given away, one of them has to do.
    return first if first > 11_000 else 65_536


def cores() -> tuple[set[int], set[int]]:
    """The core of what is measured, and those of everything else; the same where there is one."""
    mine = sorted(os.sched_getaffinity(0))
    return {mine[0]}, set(mine[1:] or mine)


@contextlib.contextmanager
def running(
    arguments: list[str], port: int, on: set[int], folder: Path
) -> Iterator[psutil.Process]:
    """`python -m …` pinned to cores, until the block ends; entered once it listens on `port`."""
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=_ROOT, stderr=log)
    try:
        os.sched_setaffinity(process.pid, on)
        _wait(process, port, Path(log.name))
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds, user and system, that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = time.perf_counter() + _START_TIMEOUT_S
    while time.perf_counter() < deadline_s:
        if process.poll() is not None:
            raise SystemExit(f"bench: {process.args!r} ended:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: {process.args!r} does not listen on {port}")
