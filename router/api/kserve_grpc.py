"""KServe v2 over gRPC, so that `tritonclient.grpc` works unchanged; the key is in `authorization`.

A client that cancels, or whose connection ends, cancels the handler, and with it the target's work.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer

from router.api import kserve
from router.api.exchange import (
    SPACE_HEADER,
    TAG_HEADER,
    Headers,
    answered,
    origin,
    request_id,
)
from router.api.lines import write_line
from router.api.metering import refusal_headers
from router.api.problems import places_of, problem_of
from router.authentication.authenticator import Authenticator
from router.config.settings import Server
from router.domain.clock import Clock
from router.domain.errors import EmbedwayError, InvalidInputError
from router.domain.journal import Ending, Facts, Journal
from router.domain.ports import Recorder
from router.domain.types import Caller, Scope
from router.policy.keys import require_scope
from router.service import EmbeddingService
from router.telemetry.logs import Log
from router.telemetry.meters import Meters

Context = grpc.aio.ServicerContext[Any, Any]


_INFER = "inference.GRPCInferenceService/ModelInfer"


@dataclass(slots=True)
class _Call:
    """A call being answered; `status` in HTTP's terms, 499 where nobody waits any more."""

    request_id: str = ""
    journal: Journal = field(default_factory=Journal)
    facts: Facts = field(default_factory=Facts)
    status: int = 499
    grpc_status: grpc.StatusCode = grpc.StatusCode.CANCELLED


class KServeGrpcDoor(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """`inference.GRPCInferenceService`: health, metadata and ModelInfer."""

    def __init__(
        self,
        service: EmbeddingService,
        authenticator: Authenticator,
        limits: Server,
        clock: Clock,
        log: Log,
        is_ready: Callable[[], bool],
        recorder: Recorder,
        meters: Meters,
    ) -> None:
        """`is_ready` tells whether the router as a whole would serve."""
        self._meters = meters
        self._service = service
        self._authenticator = authenticator
        self._limits = limits
        self._clock = clock
        self._log = log
        self._is_ready = is_ready
        self._recorder = recorder
        self.under_way = 0

    async def ServerLive(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """Live as long as it answers."""
        del request, context
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """Ready where a route would be served."""
        del request, context
        return messages.ServerReadyResponse(ready=self._is_ready())

    async def ModelReady(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """Ready where the model's route would be served."""
        return await self._guarded(context, self._model_ready(request), _Call())

    async def ServerMetadata(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """Name, version and extensions."""
        del request, context
        return messages.ServerMetadataResponse(**kserve.SERVER)

    async def ModelMetadata(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """Inputs and outputs of a model."""
        return await self._guarded(context, self._model_metadata(request, context), _Call())

    async def ModelInfer(self, request: Any, context: Context) -> Any:  # noqa: ANN401, N802
        """Vectors for the request's tensors."""
        arrived_s = self._clock.monotonic_s()
        shown = _metadata(context, "x-request-id")
        call = _Call(request_id(shown.encode("latin-1") if shown is not None else None))
        parent, state = _metadata(context, "traceparent"), _joined(context, "tracestate")
        call.journal = self._recorder.begin(parent, state, arrived_s)
        self.under_way += 1
        try:
            return await self._guarded(
                context, self._infer(request, context, arrived_s, call), call
            )
        finally:
            self.under_way -= 1
            self._record(call, arrived_s)

    async def _model_ready(self, request: Any) -> Any:  # noqa: ANN401
        return messages.ModelReadyResponse(ready=self._service.is_route_ready(request.name))

    async def _model_metadata(self, request: Any, context: Context) -> Any:  # noqa: ANN401
        caller = await self._authenticate(context)
        route = self._service.route(request.name, caller.tenant)
        answer = messages.ModelMetadataResponse(
            name=route.name, versions=[kserve.VERSION], platform=kserve.PLATFORM
        )
        for name, datatype in kserve.INPUTS.items():
            answer.inputs.add(name=name, datatype=datatype, shape=[-1, -1])
        answer.outputs.add(
            name=kserve.OUTPUT, datatype="FP32", shape=[-1, -1, route.space.dimensions]
        )
        return answer

    async def _infer(
        self,
        request: Any,  # noqa: ANN401
        context: Context,
        arrived_s: float,
        call: _Call,
    ) -> Any:  # noqa: ANN401
        with call.journal.phase("auth", self._clock):
            caller = await self._authenticate(context)
            call.facts.tenant, call.facts.key = caller.tenant, caller.key_name
            require_scope(caller, Scope.EMBED)
        route = self._service.route(request.model_name, caller.tenant)
        call.facts.route = route.name
        parameters = {name: _parameter(value) for name, value in request.parameters.items()}
        kserve.check_parameters(parameters, frozenset())
        kserve.check_outputs([output.name for output in request.outputs])
        most_s = kserve.timeout_s(parameters, self._limits.request_timeout_s)
        # None where the client set no deadline, whatever the type stubs say.
        client_s = context.time_remaining() or most_s
        embedding, shape = kserve.embedding_request(
            route.name,
            _tensors(request),
            parameters,
            deadline_s=arrived_s + min(most_s, client_s),
            max_inputs=self._limits.max_inputs,
            pinned_space=_metadata(context, SPACE_HEADER),
            identity=(call.request_id, call.journal),
            tag=_metadata(context, TAG_HEADER),
        )
        call.facts.inputs = len(embedding.texts or embedding.token_ids or ())
        result = await self._service.embed(embedding, caller)
        context.set_trailing_metadata(_trailing(origin(result)))
        answered(call.facts, result)
        vectors = kserve.output_tensor(result, shape)
        answer = messages.ModelInferResponse(
            model_name=route.name, model_version=kserve.VERSION, id=request.id
        )
        answer.outputs.add(name=kserve.OUTPUT, datatype="FP32", shape=vectors.shape)
        answer.raw_output_contents.append(vectors.tobytes())
        return answer

    async def _authenticate(self, context: Context) -> Caller:
        value = _metadata(context, "authorization")
        shown = value.encode() if value is not None else None
        return self._authenticator.known(shown) or await self._authenticator.find(shown)

    async def _guarded(self, context: Context, work: Awaitable[Any], call: _Call) -> Any:  # noqa: ANN401
        """The answer of `work`, or the end of the call with the status of its error."""
        try:
            answer = await work
        except EmbedwayError as error:
            await self._refuse(context, error, call)
        except Exception as error:  # noqa: BLE001 - this door's outermost handler
            self._log.event(
                "defect",
                method="grpc",
                request_id=call.request_id or None,
                error=type(error).__name__,
                at=places_of(error),
            )
            await self._refuse(context, error, call)
        call.status, call.grpc_status = 200, grpc.StatusCode.OK
        return answer

    def _record(self, call: _Call, arrived_s: float) -> None:
        now_s, rpc, facts = self._clock.monotonic_s(), call.grpc_status.name, call.facts
        ending = Ending("ModelInfer", _INFER, call.status, call.request_id, now_s, rpc)
        outcome = {200: "ok", 499: "cancelled"}.get(call.status) or facts.error or ""
        trace = call.journal.exemplar
        self._meters.request(facts.route, facts.tenant, outcome, now_s - arrived_s, trace)
        if call.journal.span:
            self._recorder.end(call.journal, facts, ending)
        if self._limits.log_requests:
            write_line(self._log, call.journal, facts, ending, arrived_s)

    async def _refuse(self, context: Context, error: Exception, call: _Call) -> NoReturn:
        problem = problem_of(error)
        call.status, call.facts.error = problem.status, problem.code
        call.grpc_status = problem.grpc_status
        headers = refusal_headers(problem.quota, problem.retry_after_s)
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % problem.retry_after_s))
        trailing = _trailing(headers)
        await context.abort(problem.grpc_status, problem.message, trailing)


def _metadata(context: Context, key: str) -> str | None:
    """Value of the first metadata of that lower-case name."""
    for name, value in context.invocation_metadata() or ():
        if name == key:
            return value.decode("latin-1") if isinstance(value, bytes) else value
    return None


def _joined(context: Context, key: str) -> str | None:
    """Values of all metadata of that lower-case name, as one list."""
    values = [
        value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in context.invocation_metadata() or ()
        if name == key
    ]
    return ",".join(values) if values else None


def _trailing(headers: Headers) -> tuple[tuple[str, str], ...]:
    """HTTP's headers as gRPC's metadata."""
    return tuple((name.decode(), value.decode()) for name, value in headers)


def _parameter(value: Any) -> kserve.Parameter:  # noqa: ANN401
    kind = value.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidInputError("a parameter has no value")
    parameter: kserve.Parameter = getattr(value, kind)
    return parameter


def _tensors(request: Any) -> dict[str, kserve.Tensor]:  # noqa: ANN401
    """Inputs by name, from raw bytes where there are any, else from typed contents."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInputError(f"{len(request.inputs)} inputs came with {len(raw)} contents")
    tensors: dict[str, kserve.Tensor] = {}
    for position, item in enumerate(request.inputs):
        shape = tuple(item.shape)
        if item.name in tensors:
            raise InvalidInputError(f"input {item.name[:64]!r} stands twice")
        if raw:
            tensor = kserve.tensor_from_raw(item.name, item.datatype, shape, raw[position])
        else:
            contents = item.contents
            values = contents.bytes_contents or contents.int_contents or contents.int64_contents
            tensor = kserve.tensor_from_values(item.name, item.datatype, shape, list(values))
        tensors[item.name] = tensor
    return tensors
