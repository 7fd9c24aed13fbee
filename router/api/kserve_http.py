"""KServe v2 over HTTP, JSON and binary tensors, so that `tritonclient.http` works unchanged."""

import re
from typing import Any

import msgspec
import numpy as np
import orjson

from router.api import kserve
from router.api.exchange import Exchange, Headers, Reply, answered, origin
from router.config.settings import Server
from router.domain.errors import InvalidInputError, UpstreamUnavailableError
from router.domain.types import Float32Array
from router.service import EmbeddingService

_HEADER_LENGTH = b"inference-header-content-length"
_LENGTH = re.compile(rb"[0-9]{1,10}")
_BINARY = b"application/octet-stream"


class InferInput(msgspec.Struct):
    """One input; its data follows the JSON where the parameter `binary_data_size` is given."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, kserve.Parameter] = {}
    data: list[Any] | None = None


class InferOutput(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: dict[str, kserve.Parameter] = {}


class InferBody(msgspec.Struct):
    """The JSON part of an inference request."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, kserve.Parameter] = {}
    outputs: list[InferOutput] = []


class KServeHttpDoor:
    """The `/v2` paths; those of health need no key."""

    def __init__(self, service: EmbeddingService, limits: Server) -> None:
        self._service = service
        self._limits = limits
        self._decoder = msgspec.json.Decoder(InferBody)

    async def server(self, exchange: Exchange) -> Reply:
        """Server metadata."""
        del exchange
        return Reply(200, orjson.dumps(kserve.SERVER))

    async def model(self, exchange: Exchange, model: str) -> Reply:
        """Metadata of one model; UnknownModelError."""
        route = self._service.route(model, exchange.tenant)
        inputs = [
            {"name": name, "datatype": datatype, "shape": [-1, -1]}
            for name, datatype in kserve.INPUTS.items()
        ]
        output = {
            "name": kserve.OUTPUT,
            "datatype": "FP32",
            "shape": [-1, -1, route.space.dimensions],
        }
        return Reply(
            200,
            orjson.dumps(
                {
                    "name": route.name,
                    "versions": [kserve.VERSION],
                    "platform": kserve.PLATFORM,
                    "inputs": inputs,
                    "outputs": [output],
                }
            ),
        )

    async def model_ready(self, exchange: Exchange, model: str) -> Reply:
        """200 where the model would be served; UpstreamUnavailableError, UnknownModelError."""
        if not self._service.is_route_ready(model, exchange.tenant):
            raise UpstreamUnavailableError(f"{model} is not ready")
        return Reply(200, orjson.dumps({"name": model, "ready": True}))

    async def infer(self, exchange: Exchange, model: str) -> Reply:
        """Vectors for the request's tensors."""
        route = self._service.route(model, exchange.tenant)
        limits = self._limits
        data = await exchange.body(limits.max_body_bytes, limits.request_timeout_s)
        body, tail = self._decode(exchange, data)
        kserve.check_parameters(body.parameters, frozenset({"binary_data_output"}))
        kserve.check_outputs([output.name for output in body.outputs])
        most_s = kserve.timeout_s(body.parameters, limits.request_timeout_s)
        request, shape = kserve.embedding_request(
            route.name,
            _tensors(body.inputs, tail),
            body.parameters,
            deadline_s=exchange.arrived_s + most_s,
            max_inputs=limits.max_inputs,
            pinned_space=exchange.pinned_space,
            identity=(exchange.request_id, exchange.journal),
            tag=exchange.tag,
        )
        exchange.facts.route = route.name
        exchange.facts.inputs = len(request.texts or request.token_ids or ())
        result = await self._service.embed(request, exchange.payer)
        answered(exchange.facts, result)
        reply = _reply(body, route.name, kserve.output_tensor(result, shape))
        reply.headers.extend(origin(result))
        return reply

    def _decode(self, exchange: Exchange, data: bytes) -> tuple[InferBody, memoryview]:
        declared = exchange.header(_HEADER_LENGTH)
        size = len(data)
        if declared is not None:
            if not _LENGTH.fullmatch(declared) or int(declared) > size:
                raise InvalidInputError("Inference-Header-Content-Length does not fit the body")
            size = int(declared)
        try:
            body = self._decoder.decode(memoryview(data)[:size])
        except msgspec.ValidationError as error:
            raise InvalidInputError(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInputError("the JSON of the request could not be parsed") from error
        return body, memoryview(data)[size:]


def _tensors(inputs: list[InferInput], tail: memoryview) -> dict[str, kserve.Tensor]:
    tensors: dict[str, kserve.Tensor] = {}
    start = 0
    for item in inputs:
        if item.name in tensors:
            raise InvalidInputError(f"input {item.name[:64]!r} stands twice")
        shape = tuple(item.shape)
        size = item.parameters.get("binary_data_size")
        if size is None:
            values = list(_flat(item.data or []))
            tensors[item.name] = kserve.tensor_from_values(item.name, item.datatype, shape, values)
            continue
        if type(size) is not int or size < 0 or start + size > len(tail):
            raise InvalidInputError(f"{item.name[:64]}: binary_data_size does not fit the body")
        raw = bytes(tail[start : start + size])
        tensors[item.name] = kserve.tensor_from_raw(item.name, item.datatype, shape, raw)
        start += size
    if start != len(tail):
        raise InvalidInputError("the body is longer than its inputs say")
    return tensors


def _flat(data: list[Any], depth: int = 0) -> list[Any]:
    """Values of nested lists in order; tensors may come flat or nested."""
    if depth > 8:
        raise InvalidInputError("data is nested too deep")
    values: list[Any] = []
    for item in data:
        if isinstance(item, list):
            values.extend(_flat(item, depth + 1))
        else:
            values.append(item)
    return values


def _reply(body: InferBody, model: str, vectors: Float32Array) -> Reply:
    wanted = body.outputs[0].parameters if body.outputs else {}
    binary = wanted.get("binary_data", body.parameters.get("binary_data_output", False))
    output: dict[str, Any] = {
        "name": kserve.OUTPUT,
        "datatype": "FP32",
        "shape": list(vectors.shape),
    }
    answer: dict[str, Any] = {"model_name": model, "model_version": kserve.VERSION}
    if body.id is not None:
        answer["id"] = body.id
    answer["outputs"] = [output]
    if not binary:
        output["data"] = np.ascontiguousarray(vectors).reshape(-1)
        return Reply(200, orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
    raw = vectors.tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    head = orjson.dumps(answer)
    headers: Headers = [(_HEADER_LENGTH, b"%d" % len(head))]
    return Reply(200, head + raw, content_type=_BINARY, headers=headers)
