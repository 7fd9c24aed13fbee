"""What stands at the listening ends: passes each request to the doors in force as it arrives.

A request is answered by one configuration from its first byte to its last.
"""

from collections.abc import MutableMapping
from typing import Any

from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer

from router.api import exchange as wire
from router.api.http import HttpFront
from router.api.kserve_grpc import Context, KServeGrpcDoor


class HttpSwitch:
    """An ASGI application; another front may be put in `front` at any time."""

    def __init__(self, front: HttpFront) -> None:
        self.front = front

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: wire.Receive, send: wire.Send
    ) -> None:
        """Answer one request (ASGI)."""
        await self.front(scope, receive, send)


class GrpcSwitch(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """`inference.GRPCInferenceService`; another door may be put in `door` at any time."""

    def __init__(self, door: KServeGrpcDoor) -> None:
        self.door = door

    async def ServerLive(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """As the door answers."""
        return await self.door.ServerLive(request, context)

    async def ServerReady(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """As the door answers."""
        return await self.door.ServerReady(request, context)

    async def ModelReady(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """As the door answers."""
        return await self.door.ModelReady(request, context)

    async def ServerMetadata(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """As the door answers."""
        return await self.door.ServerMetadata(request, context)

    async def ModelMetadata(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """As the door answers."""
        return await self.door.ModelMetadata(request, context)

    async def ModelInfer(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """As the door answers."""
        return await self.door.ModelInfer(request, context)
