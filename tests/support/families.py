"""Processes with their children, seen while some of them come and go."""

import time
from collections.abc import Iterable

import psutil

_POLL_S = 0.05


def name_of(process: psutil.Process) -> str:
    """Its name; empty where it is gone."""
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one that waits for its parent to hear of its end does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def living(processes: Iterable[psutil.Process], within_s: float = 60.0) -> list[psutil.Process]:
    """Those that have not ended in that time."""
    left = list(processes)
    deadline_s = time.monotonic() + within_s
    while left := list(filter(is_alive, left)):
        if time.monotonic() > deadline_s:
            break
        time.sleep(_POLL_S)
    return left
