"""The unmodified `tritonclient.http`, and requests that it would never send."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from router.domain.errors import UpstreamOverloadedError, UpstreamUnavailableError
from tests.support.router_under_test import RouterUnderTest
from tests.support.tensors import IDS, LENGTHS, TEXTS, ids_inputs, text_inputs
from tests.support.wire import AUTHORIZATION, call, embed, vectors

PATH = "/v2/models/plain/infer"
BIG = int("9" * 4000)


@pytest.fixture
def client(router: RouterUnderTest) -> Iterator[triton.InferenceServerClient]:
    with closing(triton.InferenceServerClient(router.host)) as one:
        yield one


def infer(client: triton.InferenceServerClient, inputs: list[Any], **options: Any) -> np.ndarray:
    result = client.infer("plain", inputs, headers={**AUTHORIZATION}, **options)
    return result.as_numpy("EMBEDDING")


@pytest.mark.parametrize("sends_binary", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("wants_binary", [True, False, None], ids=["binary", "JSON", "unsaid"])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1)])
def test_text(
    client: triton.InferenceServerClient,
    router: RouterUnderTest,
    sends_binary: bool,
    wants_binary: bool | None,
    shape: tuple[int, ...],
) -> None:
    """Texts of any shape give vectors of that shape, the same ones as the OpenAI door."""
    inputs = text_inputs(triton, TEXTS, shape, binary_data=sends_binary)
    outputs = None
    if wants_binary is not None:
        outputs = [triton.InferRequestedOutput("EMBEDDING", binary_data=wants_binary)]
    got = infer(client, inputs, outputs=outputs, request_id="r-1")
    assert got.shape == (*shape, 384)
    expected = np.array(vectors(embed(router, input=TEXTS)), np.float32)
    assert np.array_equal(got.reshape(3, 384), expected)


@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "JSON"])
def test_ids(
    client: triton.InferenceServerClient, router: RouterUnderTest, datatype: str, is_binary: bool
) -> None:
    """Packed ids with their lengths give the vectors that the OpenAI door gives for the ids."""
    got = infer(client, ids_inputs(triton, datatype, binary_data=is_binary))
    assert got.shape == (1, 2, 384)
    expected = vectors(embed(router, input=[IDS[: LENGTHS[0]], IDS[LENGTHS[0] :]]))
    assert np.array_equal(got[0], np.array(expected, np.float32))


def test_parameters(client: triton.InferenceServerClient, router: RouterUnderTest) -> None:
    """Dimensions, prompts and truncation are parameters of the request."""
    inputs = text_inputs(triton, ["word " * 500], (1, 1))
    parameters = {"dimensions": 40, "instruction": "Rank", "truncate": True, "input_type": "query"}
    result = client.infer("org/wide", inputs, headers={**AUTHORIZATION}, parameters=parameters)
    expected = embed(router, model="org/wide", input=["word " * 500], **parameters)
    got = result.as_numpy("EMBEDDING")
    assert got.shape == (1, 1, 40)
    assert np.array_equal(got[0], np.array(vectors(expected), np.float32))
    assert result.get_response()["model_name"] == "org/wide"


@pytest.mark.parametrize(
    "timeout", [None, 0, -5, 10_000_000, BIG], ids=["unsaid", "zero", "negative", "long", "huge"]
)
def test_a_time_that_suffices(router: RouterUnderTest, timeout: int | None) -> None:
    """The parameter `timeout` shortens the request's time, and never lengthens or voids it."""
    body = {"inputs": [text()], "parameters": {} if timeout is None else {"timeout": timeout}}
    assert call(router, "POST", PATH, json.dumps(body).encode()).status == 200


def test_a_time_that_is_too_short(
    client: triton.InferenceServerClient, router: RouterUnderTest
) -> None:
    """A request gets no longer than its parameter `timeout`, in microseconds."""
    router.fake("plain-target").delay_s = 30.0
    with pytest.raises(InferenceServerException) as caught:
        infer(client, text_inputs(triton, ["a"], (1,)), timeout=100_000)
    assert caught.value.status() == "504"


def test_the_request_id_comes_back(client: triton.InferenceServerClient) -> None:
    """The protocol's own id of a request stands in its answer, with model and version."""
    inputs = text_inputs(triton, ["a"], (1,))
    result = client.infer("plain", inputs, headers={**AUTHORIZATION}, request_id="r-7")
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("r-7", "plain", "1")


def test_the_origin_of_the_vectors(router: RouterUnderTest) -> None:
    """The answer names space and target, as the OpenAI door's does."""
    body = {"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}
    answer = call(router, "POST", PATH, json.dumps(body).encode())
    assert answer.headers["x-embedway-space"] == "plain-space"
    assert answer.headers["x-embedway-target"] == "plain-target"


def test_health(client: triton.InferenceServerClient) -> None:
    """Liveness and readiness need no key; a model that is not there is not ready."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("plain")
    assert client.is_model_ready("org/wide", "1")
    assert not client.is_model_ready("nothing")


def test_metadata(client: triton.InferenceServerClient) -> None:
    """The server names itself; a model names its tensors, to those who have a key."""
    assert client.get_server_metadata()["name"] == "embedway"
    metadata = client.get_model_metadata("org/wide", headers={**AUTHORIZATION})
    assert {item["name"]: item["datatype"] for item in metadata["inputs"]} == {
        "TEXT": "BYTES", "INPUT_IDS": "INT32", "LENGTHS": "INT32",
    }  # fmt: skip
    (output,) = metadata["outputs"]
    assert output == {"name": "EMBEDDING", "datatype": "FP32", "shape": [-1, -1, 256]}
    with pytest.raises(InferenceServerException, match="API key"):
        client.get_model_metadata("org/wide")


@pytest.mark.parametrize(
    ("failure", "status"),
    [(UpstreamUnavailableError("m", 4), 503), (UpstreamOverloadedError("m", 4), 429)],
    ids=["unavailable", "overloaded"],
)
def test_failures(
    client: triton.InferenceServerClient, router: RouterUnderTest, failure: Any, status: int
) -> None:
    """A failing target is told in the protocol's shape, with Retry-After."""
    router.fake("plain-target").fail_with = failure
    with pytest.raises(InferenceServerException) as caught:
        infer(client, text_inputs(triton, ["a"], (1,)))
    assert caught.value.status() == str(status)
    body = {"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}
    answer = call(router, "POST", PATH, json.dumps(body).encode())
    assert (answer.status, answer.json, answer.headers["retry-after"]) == (
        status, {"error": "m"}, "4",
    )  # fmt: skip


def text(**changes: Any) -> dict[str, Any]:
    return {"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["a"]} | changes


def ids(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "INT32", "shape": [1, 2], "data": [5, 6]} | changes


LENGTH_TWO = ids("LENGTHS", shape=[1, 1], data=[2])
BODIES: dict[str, Any] = {
    "no inputs": {"inputs": []},
    "inputs missing": {},
    "an unknown input": {"inputs": [text(name="PROMPT")]},
    "text as integers": {"inputs": [text(datatype="INT32", data=[1])]},
    "text as floats": {"inputs": [text(datatype="FP32", data=[1.0])]},
    "ids as text": {"inputs": [ids("INPUT_IDS", datatype="BYTES", data=["a", "b"]), LENGTH_TWO]},
    "numbers in text": {"inputs": [text(data=[5])]},
    "null in text": {"inputs": [text(data=[None])]},
    "no data": {"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1]}]},
    "no values": {"inputs": [text(shape=[0], data=[])]},
    "an empty text": {"inputs": [text(data=[""])]},
    "no axis": {"inputs": [text(shape=[])]},
    "a negative axis": {"inputs": [text(shape=[-1])]},
    "too few values": {"inputs": [text(shape=[2])]},
    "too many values": {"inputs": [text(data=["a", "b"])]},
    "a shape beyond all memory": {"inputs": [text(shape=[2**40, 2**40])]},
    "an axis of 4000 digits": {"inputs": [text(shape=[BIG, BIG])]},
    "a hundred axes": {"inputs": [text(shape=[1] * 100)]},
    "the same input twice": {"inputs": [text(), text()]},
    "text and ids": {"inputs": [text(), ids("INPUT_IDS"), LENGTH_TWO]},
    "ids without lengths": {"inputs": [ids("INPUT_IDS")]},
    "lengths without ids": {"inputs": [LENGTH_TWO]},
    "lengths that do not add up": {
        "inputs": [ids("INPUT_IDS"), ids("LENGTHS", shape=[1, 1], data=[3])]
    },
    "lengths of 4000 digits": {"inputs": [ids("INPUT_IDS"), ids("LENGTHS", data=[BIG, BIG])]},
    "a length of zero": {"inputs": [ids("INPUT_IDS"), ids("LENGTHS", data=[2, 0])]},
    "a negative length": {"inputs": [ids("INPUT_IDS"), ids("LENGTHS", data=[3, -1])]},
    "ids outside the vocabulary": {"inputs": [ids("INPUT_IDS", data=[5, 30522]), LENGTH_TWO]},
    "negative ids": {"inputs": [ids("INPUT_IDS", data=[5, -6]), LENGTH_TWO]},
    "ids over 64 bits": {"inputs": [ids("INPUT_IDS", data=[5, 2**70]), LENGTH_TWO]},
    "fractional ids": {"inputs": [ids("INPUT_IDS", data=[5, 1.5]), LENGTH_TWO]},
    "boolean ids": {"inputs": [ids("INPUT_IDS", data=[True, 5]), LENGTH_TWO]},
    "deep data": {"inputs": [text(data=json.loads("[" * 50 + '"a"' + "]" * 50))]},
    "a size without binary data": {"inputs": [text(parameters={"binary_data_size": 5})]},
    "a negative size": {"inputs": [text(parameters={"binary_data_size": -5})]},
    "a size as text": {"inputs": [text(parameters={"binary_data_size": "5"})]},
    "an unknown parameter": {"inputs": [text()], "parameters": {"dimension": 5}},
    "dimensions as text": {"inputs": [text()], "parameters": {"dimensions": "5"}},
    "dimensions as a boolean": {"inputs": [text()], "parameters": {"dimensions": True}},
    "dimensions of 4000 digits": {"inputs": [text()], "parameters": {"dimensions": BIG}},
    "no such dimension": {"inputs": [text()], "parameters": {"dimensions": 5}},
    "negative dimensions": {"inputs": [text()], "parameters": {"dimensions": -5}},
    "a time as text": {"inputs": [text()], "parameters": {"timeout": "5"}},
    "truncate as a number": {"inputs": [text()], "parameters": {"truncate": 1}},
    "an unknown output": {"inputs": [text()], "outputs": [{"name": "LOGITS"}]},
    "too many texts": {"inputs": [text(shape=[2049], data=["a"] * 2049)]},
    "a text too long": {"inputs": [text(data=["word " * 300])]},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_at_fault(router: RouterUnderTest, body: Any) -> None:
    """A request at fault is answered 400 with one sentence, and no target is asked."""
    answer = call(router, "POST", PATH, json.dumps(body).encode())
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"error"}
    assert answer.json["error"]
    assert router.fake("plain-target").calls == []


BINARY = json.dumps(
    {"inputs": [text(data=None, parameters={"binary_data_size": 5}) | {"data": None}]}
).encode()
ELEMENT = b"\x01\0\0\0a"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (str(len(BINARY)), BINARY),
        (str(len(BINARY)), BINARY + ELEMENT + b"more"),
        (str(len(BINARY)), BINARY + b"\xff\xff\xff\xff" + b"a"),
        (str(len(BINARY)), BINARY + b"\x01\0\0\0\xff"),
        (str(len(BINARY)), BINARY + b"\x00\0\0\0\x00"),
        (str(len(BINARY) + 100), BINARY + ELEMENT),
        (str(len(BINARY) - 1), BINARY + ELEMENT),
        ("-5", BINARY + ELEMENT),
        ("x", BINARY + ELEMENT),
        ("9" * 5000, BINARY + ELEMENT),
        ("0", BINARY + ELEMENT),
        (None, BINARY + ELEMENT),
    ],
    ids=["no data", "more data", "a length past the end", "not UTF-8", "cut in a length",
         "head past the end", "head too short", "negative", "letters", "5000 digits", "zero",
         "no header"],
)  # fmt: skip
def test_binary_data_at_fault(router: RouterUnderTest, header: str | None, body: bytes) -> None:
    """Binary data that does not fit its description is answered 400."""
    headers = {} if header is None else {"inference-header-content-length": header}
    answer = call(router, "POST", PATH, body, headers=AUTHORIZATION | headers)
    assert answer.status == 400, answer.body
    assert set(answer.json) == {"error"}


def test_binary_data_without_fault(router: RouterUnderTest) -> None:
    """The frame of the cases above is sound: with the right data it is served."""
    headers = {"inference-header-content-length": str(len(BINARY))}
    answer = call(router, "POST", PATH, BINARY + ELEMENT, headers=AUTHORIZATION | headers)
    assert answer.status == 200
