"""A real Redis on a free port: started, stopped in the middle, killed and started again."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.processes import free_port
from tests.support.parts import libraries, program

_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")


class RedisServer:
    """`redis-server` without persistence."""

    def __init__(self, folder: Path) -> None:
        self._program = program("redis-server", *_PACKAGES)
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, on its port."""
        arguments = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--daemonize",
            "no",
        ]
        self._process = subprocess.Popen(
            [self._program, *arguments],
            cwd=self._folder,
            env=os.environ | libraries(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline_s, "redis-server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """As kill -9 does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def hang(self) -> None:
        """Its connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str | bytes) -> bytes:
        """One command on a connection of its own; the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            encoded = [word.encode() if isinstance(word, str) else word for word in words]
            connection.sendall(
                b"*%d\r\n" % len(encoded)
                + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
                + b"*1\r\n$4\r\nQUIT\r\n"
            )
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
        return answer.removesuffix(b"+OK\r\n")

    def names(self) -> list[bytes]:
        """Names of keys; none of the tests' names holds a line's end."""
        return [line for line in self.command("KEYS", "*").split(b"\r\n")[2::2] if line]

    def get(self, key: bytes) -> bytes:
        """The value of a key."""
        head, _, rest = self.command("GET", key).partition(b"\r\n")
        return rest[: int(head[1:])]

    def _answers(self) -> bool:
        try:
            return self.command("PING") == b"+PONG\r\n"
        except OSError:
            return False
