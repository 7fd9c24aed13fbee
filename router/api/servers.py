"""The listening ends: HTTP by uvicorn, gRPC by grpc.aio, both on the caller's event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import grpc
import uvicorn
from tritonclient.grpc.service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server

from router.api.switch import GrpcSwitch, HttpSwitch
from router.domain.errors import ConfigurationError

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_MAX_MESSAGE_BYTES = 2**31 - 1


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: who started the router decides when it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an HttpSwitch."""

    def __init__(self, switch: HttpSwitch, listener: socket.socket) -> None:
        """`listener` is bound, and listens as soon as the server starts."""
        self._socket = listener
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                switch,
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                # Its lines are not ours: no JSON, and one for every stranger who sends garbage.
                log_config=None,
                log_level=logging.CRITICAL,
                # Nothing asks for the client's address.
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve; returns once connections are answered."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                await self._task
                raise ConfigurationError("the HTTP server ended while it was starting")
            await asyncio.sleep(0.005)

    async def stop(self, drain_s: float) -> None:
        """Accept nothing more; give requests under way `drain_s` seconds, then cut them off."""
        if self._task is None:
            self._socket.close()
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(drain_s))
        self._server.should_exit = True
        await self._task


class GrpcServer:
    """Serves a GrpcSwitch."""

    def __init__(
        self, switch: GrpcSwitch, host: str, port: int, max_body_bytes: int, *, shares_port: bool
    ) -> None:
        """`max_body_bytes` bounds a received message; other workers may serve the same port."""
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_body_bytes),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                # Two servers on one port would share its calls in silence.
                ("grpc.so_reuseport", int(shares_port)),
            ]
        )
        add_GRPCInferenceServiceServicer_to_server(switch, self._server)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise _taken(host, port) from error

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def stop(self, drain_s: float) -> None:
        """Accept nothing more; give calls under way `drain_s` seconds, then cut them off."""
        await self._server.stop(drain_s)


def bound(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """A socket of that address; ConfigurationError where it cannot be had.

    One that is alone listens at once. Where it `shares_port`, all sockets of the address must, and
    it listens when it is served: connections are spread over those that do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        if not shares_port:
            listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _taken(host, port) from error
    listener.setblocking(False)
    return listener


def _taken(host: str, port: int) -> ConfigurationError:
    return ConfigurationError(
        f"port {port} on {host} cannot be listened on: it is in use, or not allowed"
    )
