"""Ports of this machine that nobody listens on."""

import contextlib
import socket


def free_tcp_ports(count: int) -> list[int]:
    """As many different ports of 127.0.0.1 as asked for, free right now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
