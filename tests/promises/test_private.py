"""Promise 5: input text and keys stand in no log, no header and no error that others see."""

import base64
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

from router.domain.errors import UpstreamError, UpstreamRejectedError
from router.upstreams.fake import FakeUpstream
from router.upstreams.packing import PackingUpstream
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings
from tests.support.tensors import text_inputs
from tests.support.upstreams import Defective
from tests.support.wire import AUTHORIZATION, Answer, call, connect, embed, request_bytes

SECRET = "xylophone-quartz-4711"
WRONG_KEY = "ew-wrong-zeppelin-key"
IDS = [17171, 23232, 19191]
# In whatever form a careless line would hold them.
_TRACES = re.compile(
    rf"{SECRET}|{base64.b64encode(SECRET.encode()).decode().rstrip('=')[:-1]}|zeppelin"
    rf"|{re.escape(KEY)}|17171\W+23232",
    re.IGNORECASE,
)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "plain", "input": SECRET} | fields).encode()


def infer(**item: Any) -> bytes:
    tensor = {"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": [SECRET]} | item
    return json.dumps({"inputs": [tensor]}).encode()


def key(value: str) -> dict[str, str]:
    return {"authorization": value}


OPENAI = "/v1/embeddings"
KSERVE = "/v2/models/plain/infer"
REQUESTS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "good": (OPENAI, body(), {}),
    "good ids": (OPENAI, body(input=IDS), {}),
    "good instruction": (OPENAI, body(model="org/wide", instruction=SECRET), {}),
    "good user": (OPENAI, body(user=SECRET), {}),
    "in the query": (f"{OPENAI}?text={SECRET}", body(), {}),
    "too long": (OPENAI, body(input=SECRET * 100), {}),
    "ids out of range": (OPENAI, body(input=[*IDS, -1]), {}),
    "mixture": (OPENAI, body(input=[SECRET, 5]), {}),
    "as the model": (OPENAI, body(model=SECRET), {}),
    "as an unknown field": (OPENAI, body(**{SECRET: 1}), {}),
    "as the input type": (OPENAI, body(input_type=SECRET), {}),
    "as the encoding": (OPENAI, body(encoding_format=SECRET), {}),
    "as the dimensions": (OPENAI, body(dimensions=SECRET), {}),
    "unwanted instruction": (OPENAI, body(instruction=SECRET), {}),
    "as the space": (OPENAI, body(), {"x-embedway-space": SECRET}),
    "as the request id": (OPENAI, body(), {"x-request-id": f"{SECRET} {SECRET}"}),
    "as a strange header": (OPENAI, body(), {SECRET: SECRET}),
    "malformed": (OPENAI, body()[:-2], {}),
    "not UTF-8": (OPENAI, body() + b"\xff", {}),
    "surrogates": (OPENAI, body().replace(b"xylo", b"\\ud800"), {}),
    "deep": (OPENAI, b"[" * 5000 + body(), {}),
    "too large": (OPENAI, body(input=SECRET * 60_000), {}),
    "wrong key": (OPENAI, body(), key(f"Bearer {WRONG_KEY}")),
    "key without scheme": (OPENAI, body(), key(KEY)),
    "key in another scheme": (OPENAI, body(), key(f"Basic {KEY}")),
    "key with more": (OPENAI, body(), key(f"Bearer {KEY} {SECRET}")),
    "in the path": (f"/v1/{SECRET}", b"", {}),
    "in a model's path": (f"/v2/models/{SECRET}/infer", infer(), {}),
    "tensor": (KSERVE, infer(), {}),
    "tensor name": (KSERVE, infer(name=SECRET), {}),
    "tensor type": (KSERVE, infer(datatype=SECRET), {}),
    "tensor shape": (KSERVE, infer(shape=[2]), {}),
    "tensor parameter": (KSERVE, infer(parameters={"binary_data_size": SECRET}), {}),
    "tensor malformed": (KSERVE, infer()[:-1], {}),
    "tensor in bytes": (
        KSERVE,
        infer(data=None, parameters={"binary_data_size": 9}) + SECRET.encode() + b"\xff",
        {"inference-header-content-length": "5"},
    ),
}


def _grpc(router: RouterUnderTest) -> None:
    """Calls with the secret everywhere; most of them fail, as they should."""
    client = triton.InferenceServerClient(router.grpc_host)
    for model, headers in (
        ("plain", AUTHORIZATION),
        (SECRET, AUTHORIZATION),
        ("plain", key(WRONG_KEY)),
    ):
        with suppress(InferenceServerException):
            client.infer(model, text_inputs(triton, [SECRET], (1,)), headers={**headers})
    client.close()
    with grpc.insecure_channel(router.grpc_host) as channel:
        item = {"name": SECRET, "datatype": SECRET, "shape": [1]}
        raw = [b"\xff\0\0\0" + SECRET.encode()]
        request = messages.ModelInferRequest(
            model_name="plain", inputs=[item], raw_input_contents=raw
        )
        with suppress(grpc.RpcError):
            GRPCInferenceServiceStub(channel).ModelInfer(
                request, metadata=list(AUTHORIZATION.items())
            )


def _failing(failure: Exception) -> Callable[[], FakeUpstream]:
    def make() -> FakeUpstream:
        upstream = FakeUpstream(384)
        upstream.fail_with = failure  # type: ignore[assignment]
        return upstream

    return make


TARGETS: dict[str, Callable[[], Any]] = {
    "sound": lambda: FakeUpstream(384),
    "telling": _failing(UpstreamError(f"cannot embed {SECRET}")),
    "refusing": _failing(UpstreamRejectedError(f"cannot embed {SECRET}")),
    "defective": lambda: Defective(384, f"cannot embed {SECRET} with {KEY}"),
    "defective and packed": lambda: PackingUpstream(Defective(384, SECRET), 1000),
}


def _leave(router: RouterUnderTest) -> None:
    """Clients that leave within their body."""
    with connect(router) as connection:
        connection.sendall(request_bytes(body(), declared=10_000))
    with connect(router) as connection:
        connection.sendall(f"GET /{SECRET} \r\n{SECRET}\r\n\r\n".encode())


def _left(router: RouterUnderTest, start: int) -> bool:
    """Whether the log tells, from there on, of a client that left."""
    return any(json.loads(line).get("status") == 499 for line in router.log[start:].splitlines())


@pytest.mark.parametrize("make", TARGETS.values(), ids=TARGETS)
def test_no_trace_of_text_or_key(
    router: RouterUnderTest,
    make: Callable[[], Any],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever is asked, and however it fails, log, streams and headers hold nothing of it."""
    start = len(router.log)
    router.replace("plain-target", make())
    answers: list[Answer] = []
    with caplog.at_level(0):
        for path, content, headers in REQUESTS.values():
            answers.append(call(router, "POST", path, content, headers=AUTHORIZATION | headers))
        _grpc(router)
        _leave(router)
        eventually(lambda: _left(router, start))
    streams = capfd.readouterr()
    seen = {"log": router.log[start:].decode(), "out": streams.out, "err": streams.err}
    seen["records"] = "\n".join(record.getMessage() for record in caplog.records)
    seen["headers"] = json.dumps([answer.headers for answer in answers])
    for place, text in seen.items():
        assert _TRACES.search(text) is None, place
    for answer in answers:
        assert KEY not in answer.body.decode()
        assert WRONG_KEY not in answer.body.decode()
    assert len(seen["log"].splitlines()) > len(REQUESTS)


@pytest.mark.parametrize("name", ["defective", "defective and packed"])
def test_a_defect_tells_its_caller_nothing(router: RouterUnderTest, name: str) -> None:
    """The message of an unexpected exception reaches nobody."""
    router.replace("plain-target", TARGETS[name]())
    answer = embed(router, input="a")
    assert answer.status == 500
    assert _TRACES.search(answer.body.decode()) is None


def test_the_log_says_what_it_should(router: RouterUnderTest) -> None:
    """A line has names and counts, and no field that nobody has thought about."""
    request_id = embed(router, input=["one", "two"]).headers["x-request-id"]
    line = router.logged("request", request_id=request_id)
    assert line.pop("time") > 0
    assert len(line.pop("trace_id")) == 32
    assert len(line.pop("span_id")) == 16
    for name in ("ms", "auth_ms", "tokenise_ms", "quota_ms", "plan_ms", "targets_ms"):
        assert line.pop(name) >= 0
    assert line == {
        "event": "request", "request_id": request_id, "method": "POST", "status": 200,
        "tenant": "testers", "key": "test-key", "route": "plain", "space": "plain-space",
        "target": "plain-target", "inputs": 2, "tokens": 6, "outcome": "ok",
    }  # fmt: skip


def test_requests_need_not_be_logged(minilm: Any) -> None:
    """With `log_requests` off, no request leaves a line, good or bad."""
    with RouterUnderTest(fake_settings(minilm, log_requests=False)) as quiet:
        embed(quiet, input="a")
        embed(quiet, input="")
        _grpc(quiet)
        assert quiet.events("request") == []
