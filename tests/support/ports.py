"""Ports for programs that bind them later, where nobody else looks for one."""

import itertools
import os
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000
# Two runs of the tests on one machine begin at different places.
_turns = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that the kernel gives to nobody.

    One out of the kernel's own range could go to any connection before it is bound; and who asks
    again and again at such a port where nobody listens may even be connected to itself.
    """
    above = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    for _ in range(1000):
        port = _LOWEST + next(_turns) % max(above - _LOWEST, 1000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
