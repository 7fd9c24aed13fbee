"""Triton over gRPC (KServe v2): packed INT32 ids out, float32 vectors in.

gRPC and not HTTP, because only a gRPC call that is cancelled is cancelled inside Triton too.
"""

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages

from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    UpstreamContractError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.types import Float32Array, TokenBatch

_SERVICE = "/inference.GRPCInferenceService/"
_MAX_MESSAGE_BYTES = 2**31 - 1
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    # By default gRPC waits up to two minutes before it tries a lost server again; a restarted
    # Triton should be in use within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
]
_READY_TIMEOUT_S = 5.0
# What the embedding backend says while it answers its canaries wrongly. Triton's own readiness
# hears of that from its releases of 2026 on.
_NOT_READY = "the model is not ready"
# Triton answers UNAVAILABLE to both a full queue and a wait that was too long in it.
_FULL_QUEUE = ("Exceeds maximum queue size", "Request timeout expired")


class TritonUpstream:
    """One model on one Triton server."""

    def __init__(self, url: str, model: str) -> None:
        """`url` is grpc://host:port, or grpcs:// for TLS with the system's roots."""
        scheme, _, address = url.partition("://")
        if scheme == "grpcs":
            self._channel = grpc.aio.secure_channel(
                address, grpc.ssl_channel_credentials(), options=_CHANNEL_OPTIONS
            )
        else:
            self._channel = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._model = model
        self._says_not_ready = False
        self._infer = self._channel.unary_unary(
            _SERVICE + "ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        self._model_ready = self._channel.unary_unary(
            _SERVICE + "ModelReady",
            request_serializer=messages.ModelReadyRequest.SerializeToString,
            response_deserializer=messages.ModelReadyResponse.FromString,
        )

    async def embed(self, batch: TokenBatch, timeout_s: float) -> Float32Array:
        """Vectors (n, dimension) float32 of the n sequences; a cancelled call is cancelled there.

        Raises the UpstreamError that fits, or DeadlineExceededError.
        """
        try:
            response = await self._infer(_request(self._model, batch), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            self._says_not_ready = _NOT_READY in (error.details() or "")
            raise _translated(error) from error
        except grpc.aio.UsageError as error:
            raise UpstreamUnavailableError("the connection to the target is closed") from error
        return _vectors(response)

    async def ready(self) -> bool:
        """Whether this model is loaded and would serve; the server's own readiness flaps."""
        try:
            answer = await self._model_ready(
                messages.ModelReadyRequest(name=self._model), timeout=_READY_TIMEOUT_S
            )
        except (grpc.aio.AioRpcError, grpc.aio.UsageError):
            return False
        return bool(answer.ready) and (not self._says_not_ready or await self._answers_again())

    async def _answers_again(self) -> bool:
        """Ask for the vector of one token: only an answer shows that canaries are right again."""
        one = np.ones(1, np.int32)
        try:
            await self.embed(TokenBatch(one, one), _READY_TIMEOUT_S)
        except EmbedwayError:
            return False
        self._says_not_ready = False
        return True

    async def close(self) -> None:
        """Close the channel; calls under way end with UpstreamUnavailableError."""
        await self._channel.close()


def _request(model: str, batch: TokenBatch) -> messages.ModelInferRequest:
    request = messages.ModelInferRequest(model_name=model)
    for name, values in (("INPUT_IDS", batch.ids), ("LENGTHS", batch.lengths)):
        tensor = request.inputs.add()
        tensor.name = name
        tensor.datatype = "INT32"
        tensor.shape.extend((1, len(values)))
        request.raw_input_contents.append(values.tobytes())
    return request


def _vectors(response: messages.ModelInferResponse) -> Float32Array:
    """The EMBEDDING tensor [1, n, dimension] as (n, dimension), without a copy."""
    tensor = response.outputs[0] if len(response.outputs) == 1 else None
    raw = response.raw_output_contents
    if tensor is None or tensor.datatype != "FP32" or len(tensor.shape) != 3 or len(raw) != 1:
        raise UpstreamContractError("the target did not answer one FP32 tensor of three axes")
    one, count, dimensions = tensor.shape
    if one != 1 or len(raw[0]) != 4 * count * dimensions:
        raise UpstreamContractError("the target answered a tensor unlike its own shape")
    return np.frombuffer(raw[0], dtype="<f4").reshape(count, dimensions)


def _translated(error: grpc.aio.AioRpcError) -> UpstreamError | DeadlineExceededError:
    """What a gRPC status means here. Its text stays inside: it may hold addresses."""
    status, details = error.code(), error.details() or ""
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError("the target did not answer in time")
    if any(phrase in details for phrase in _FULL_QUEUE):
        return UpstreamOverloadedError("the target's queue is full: try again soon")
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
        is_ill = _NOT_READY in details
        why = "out of service, its canaries are wrong" if is_ill else "starting or down"
        return UpstreamUnavailableError(f"the target is {why}: try again soon", 2)
    if status is grpc.StatusCode.CANCELLED:
        return UpstreamUnavailableError("the target gave the request up: try again soon")
    if status in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE):
        return UpstreamRejectedError("the target refused the request")
    return UpstreamError(f"the target failed ({status.name})")
