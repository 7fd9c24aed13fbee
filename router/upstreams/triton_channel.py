"""Triton over gRPC (KServe v2): INT32 tensors out, one float32 tensor in.

gRPC and not HTTP, because only a gRPC call that is cancelled is cancelled inside Triton too.
"""

import math
from collections.abc import Iterator, Mapping

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages

from router.domain.errors import (
    DeadlineExceededError,
    UpstreamContractError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.journal import Call
from router.domain.types import Float32Array, Int32Array

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
    # A name is looked up again within a second, and not after thirty: that of a model that starts
    # or moves in a cluster has no address at first, or another one from now on.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # All replicas behind the name, and not the first alone.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A name with several addresses is several replicas: without this all calls go to one of them.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
]
_READY_TIMEOUT_S = 5.0
# What the embedding backend says while it answers its canaries wrongly. Triton's own readiness
# hears of that from its releases of 2026 on.
_NOT_READY = "the model is not ready"
# Triton answers UNAVAILABLE to both a full queue and a wait that was too long in it.
_FULL_QUEUE = ("Exceeds maximum queue size", "Request timeout expired")


class TritonChannel:
    """One model on one Triton server, whatever shapes it takes."""

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
        # Whether the latest call was refused because the model's canaries are wrong.
        self.says_not_ready = False
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

    async def infer(
        self, inputs: Mapping[str, Int32Array], timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """The model's one output in its own shape; a cancelled call is cancelled there.

        Triton continues the trace of a sampled `call`. Raises the UpstreamError that fits, or
        DeadlineExceededError.
        """
        try:
            response = await self._infer(
                _request(self._model, inputs),
                timeout=timeout_s,
                metadata=None if call is None else _Headers(call.headers()),
            )
        except grpc.aio.AioRpcError as error:
            self.says_not_ready = _NOT_READY in (error.details() or "")
            raise _translated(error) from error
        except grpc.aio.UsageError as error:
            raise UpstreamUnavailableError("the connection to the target is closed") from error
        self.says_not_ready = False
        return _output(response)

    async def ready(self) -> bool:
        """Whether this model is loaded and would serve; the server's own readiness flaps."""
        try:
            answer = await self._model_ready(
                messages.ModelReadyRequest(name=self._model), timeout=_READY_TIMEOUT_S
            )
        except (grpc.aio.AioRpcError, grpc.aio.UsageError):
            return False
        return bool(answer.ready)

    async def close(self) -> None:
        """Close the channel; calls under way end with UpstreamUnavailableError."""
        await self._channel.close()


class _Headers(grpc.aio.Metadata):
    """A call's headers as they are: gRPC's own class sorts them by name for each call, 4 µs."""

    def __init__(self, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._headers = headers

    def __len__(self) -> int:
        return len(self._headers)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._headers)


def _request(model: str, inputs: Mapping[str, Int32Array]) -> messages.ModelInferRequest:
    request = messages.ModelInferRequest(model_name=model)
    for name, values in inputs.items():
        tensor = request.inputs.add()
        tensor.name = name
        tensor.datatype = "INT32"
        tensor.shape.extend(values.shape)
        request.raw_input_contents.append(values.tobytes())
    return request


def _output(response: messages.ModelInferResponse) -> Float32Array:
    """The one FP32 tensor in its shape, without a copy."""
    tensor = response.outputs[0] if len(response.outputs) == 1 else None
    raw = response.raw_output_contents
    if tensor is None or tensor.datatype != "FP32" or len(raw) != 1:
        raise UpstreamContractError("the target did not answer one FP32 tensor")
    if len(raw[0]) != 4 * math.prod(tensor.shape):
        raise UpstreamContractError("the target answered a tensor unlike its own shape")
    return np.frombuffer(raw[0], dtype="<f4").reshape(tuple(tensor.shape))


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
