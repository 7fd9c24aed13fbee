"""The processes that are measured: started, pinned to a core, waited for, and ended by handle."""

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 15_000
# Two processes that look for ports begin at different places.
_turns = itertools.count(os.getpid() * 37)
_ROOT = Path(__file__).parents[1]
_START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that the kernel gives to nobody.

    One out of the kernel's own range could go to any connection before it is bound; and who asks
    again and again at such a port where nobody listens may even be connected to itself.
    """
    above = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768
    for _ in range(1000):
        port = _LOWEST_PORT + next(_turns) % max(above - _LOWEST_PORT, 1000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("no port is free")


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
