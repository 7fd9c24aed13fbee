"""A target that costs next to nothing: Triton's gRPC service with answers made in advance.

`python -m benchmarks.stub_triton PORT`. The vectors are fixed; their number is read from each
request, because the router packs several clients' texts into one call.
"""

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from tritonclient.grpc import service_pb2 as messages

from benchmarks.vectors import fixed_vectors

_SERVICE = "inference.GRPCInferenceService"
OPTIONS = [
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
]


class StubTriton:
    """Answers ModelInfer for models named `bench_<dimensions>`."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], bytes] = {}

    async def infer(self, data: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's own type
        """One vector for each of the request's LENGTHS."""
        del context
        request = messages.ModelInferRequest.FromString(data)
        position = [tensor.name for tensor in request.inputs].index("LENGTHS")
        count = len(request.raw_input_contents[position]) // 4
        asked = (request.model_name, count)
        if asked not in self._answers:
            self._answers[asked] = _answer(*asked)
        return self._answers[asked]

    async def metadata(self, data: bytes, context: Any) -> bytes:  # noqa: ANN401
        """The tensors of the model asked for, in Triton's shapes: -1 is any length."""
        del context
        name = messages.ModelMetadataRequest.FromString(data).name
        answer = messages.ModelMetadataResponse(name=name, versions=["1"], platform="stub")
        answer.inputs.add(name="INPUT_IDS", datatype="INT32", shape=(1, -1))
        answer.inputs.add(name="LENGTHS", datatype="INT32", shape=(1, -1))
        answer.outputs.add(name="EMBEDDING", datatype="FP32", shape=(1, -1, _dimensions(name)))
        return bytes(answer.SerializeToString())

    def server(self, port: int) -> grpc.aio.Server:
        """A server on 127.0.0.1; bytes in and out, no messages made on the way."""
        server = grpc.aio.server(options=OPTIONS)
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self.infer),
            "ModelMetadata": grpc.unary_unary_rpc_method_handler(self.metadata),
            "ModelReady": _always(messages.ModelReadyResponse(ready=True)),
            "ServerReady": _always(messages.ServerReadyResponse(ready=True)),
            "ServerLive": _always(messages.ServerLiveResponse(live=True)),
        }
        handler = grpc.method_handlers_generic_handler(_SERVICE, methods)
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"127.0.0.1:{port}")
        return server


def _always(message: Any) -> "grpc.RpcMethodHandler[bytes, bytes]":  # noqa: ANN401 - untyped
    answer = bytes(message.SerializeToString())

    async def handle(data: bytes, context: Any) -> bytes:  # noqa: ANN401
        del data, context
        return answer

    return grpc.unary_unary_rpc_method_handler(handle)


def _dimensions(model: str) -> int:
    return int(model.rpartition("_")[2])


def _answer(model: str, count: int) -> bytes:
    vectors = fixed_vectors(count, _dimensions(model))
    answer = messages.ModelInferResponse(model_name=model, model_version="1")
    answer.outputs.add(name="EMBEDDING", datatype="FP32", shape=(1, *vectors.shape))
    answer.raw_output_contents.append(vectors.tobytes())
    return bytes(answer.SerializeToString())


async def _serve(port: int) -> None:
    server = StubTriton().server(port)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_serve(int(sys.argv[1])))
