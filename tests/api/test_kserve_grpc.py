"""The unmodified `tritonclient.grpc`, in both its forms, and requests that it would never send."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

from router.domain.errors import (
    EmbedwayError,
    UpstreamContractError,
    UpstreamOverloadedError,
    UpstreamUnavailableError,
)
from tests.support import upstreams
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.tensors import IDS, LENGTHS, TEXTS, ids_inputs, text_inputs
from tests.support.wire import AUTHORIZATION, embed, vectors


@pytest.fixture
def client(router: RouterUnderTest) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(router.grpc_host) as one:
        yield one


@pytest.fixture
async def async_client(router: RouterUnderTest) -> AsyncIterator[triton_aio.InferenceServerClient]:
    async with triton_aio.InferenceServerClient(router.grpc_host) as one:
        yield one


@pytest.fixture
def stub(router: RouterUnderTest) -> Iterator[GRPCInferenceServiceStub]:
    """The protocol's own stub, for messages that the client would not build."""
    with grpc.insecure_channel(router.grpc_host) as channel:
        yield GRPCInferenceServiceStub(channel)


def infer(client: Any, inputs: list[Any], model: str = "plain", **options: Any) -> Any:
    return client.infer(model, inputs, headers={**AUTHORIZATION}, **options)


def refusal(ask: Callable[[], object]) -> tuple[str, str]:
    """Status and sentence of a call that fails."""
    with pytest.raises(InferenceServerException) as caught:
        ask()
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_text(
    client: triton.InferenceServerClient, router: RouterUnderTest, shape: tuple[int, ...]
) -> None:
    """Texts give the same vectors as the OpenAI door, in the shape of the texts."""
    result = infer(client, text_inputs(triton, TEXTS, shape), request_id="r-1")
    got = result.as_numpy("EMBEDDING")
    assert got.shape == (*shape, 384)
    expected = np.array(vectors(embed(router, input=TEXTS)), np.float32)
    assert np.array_equal(got.reshape(3, 384), expected)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("r-1", "plain", "1")


@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
def test_ids(client: triton.InferenceServerClient, router: RouterUnderTest, datatype: str) -> None:
    """Packed ids with their lengths give the vectors that the OpenAI door gives for the ids."""
    got = infer(client, ids_inputs(triton, datatype)).as_numpy("EMBEDDING")
    expected = vectors(embed(router, input=[IDS[: LENGTHS[0]], IDS[LENGTHS[0] :]]))
    assert np.array_equal(got[0], np.array(expected, np.float32))


async def test_the_asynchronous_client(
    async_client: triton_aio.InferenceServerClient, router: RouterUnderTest
) -> None:
    """The asynchronous client gets the same vectors."""
    result = await infer(async_client, text_inputs(triton_aio, TEXTS, (1, 3)))
    expected = np.array(vectors(embed(router, input=TEXTS)), np.float32)
    assert np.array_equal(result.as_numpy("EMBEDDING")[0], expected)
    assert await async_client.is_server_ready()


def test_typed_contents(stub: GRPCInferenceServiceStub, router: RouterUnderTest) -> None:
    """Tensors may come as typed contents, as in the protocol's plain form."""
    request = messages.ModelInferRequest(model_name="plain")
    item = request.inputs.add(name="TEXT", datatype="BYTES", shape=[2])
    item.contents.bytes_contents.extend([b"one", b"two"])
    response = stub.ModelInfer(request, metadata=list(AUTHORIZATION.items()))
    got = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(2, 384)
    assert np.array_equal(got, np.array(vectors(embed(router, input=["one", "two"])), np.float32))


def test_parameters(client: triton.InferenceServerClient, router: RouterUnderTest) -> None:
    """Dimensions, prompts and truncation are parameters of the request."""
    parameters = {"dimensions": 40, "instruction": "Rank", "truncate": True}
    inputs = text_inputs(triton, ["word " * 500], (1, 1))
    got = infer(client, inputs, "org/wide", parameters=parameters).as_numpy("EMBEDDING")
    expected = embed(router, model="org/wide", input=["word " * 500], **parameters)
    assert np.array_equal(got[0], np.array(vectors(expected), np.float32))


def test_health_and_metadata(client: triton.InferenceServerClient, router: RouterUnderTest) -> None:
    """Health needs no key; readiness follows the targets."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("plain")
    assert client.get_server_metadata().name == "embedway"
    metadata = client.get_model_metadata("org/wide", headers={**AUTHORIZATION})
    assert [item.name for item in metadata.inputs] == ["TEXT", "INPUT_IDS", "LENGTHS"]
    assert metadata.outputs[0].shape == [-1, -1, 256]
    for target in ("plain-target", "wide-target", "small-target"):
        router.fake(target).is_ready = False
    eventually(lambda: not client.is_server_ready())
    assert not client.is_model_ready("plain")
    assert client.is_server_live()


NO_KEY: list[dict[str, str]] = [{}, {"authorization": "Bearer ew-wrong"}, {"authorization": "x"}]


@pytest.mark.parametrize("headers", NO_KEY, ids=["none", "wrong", "no scheme"])
def test_a_key_at_fault(client: triton.InferenceServerClient, headers: dict[str, str]) -> None:
    """Without a key that somebody was given, neither vectors nor metadata are to be had."""
    inputs = text_inputs(triton, ["a"], (1,))
    for ask in (
        lambda: client.infer("plain", inputs, headers=headers),
        lambda: client.get_model_metadata("plain", headers=headers),
    ):
        assert refusal(ask)[0] == "UNAUTHENTICATED"


def test_an_unknown_model(client: triton.InferenceServerClient) -> None:
    """A model that is not there is NOT_FOUND, and the sentence names those there are."""
    for ask in (
        lambda: infer(client, text_inputs(triton, ["a"], (1,)), "nothing"),
        lambda: client.get_model_metadata("nothing", headers={**AUTHORIZATION}),
        lambda: client.is_model_ready("nothing"),
    ):
        status, sentence = refusal(ask)
        assert status == "NOT_FOUND"
        assert "org/wide" in sentence


@pytest.mark.parametrize("pinned", ["wide-space", ""])
def test_another_space_is_refused(client: triton.InferenceServerClient, pinned: str) -> None:
    """A request pinned to another space than its model's is FAILED_PRECONDITION."""
    inputs = text_inputs(triton, ["a"], (1,))
    headers = AUTHORIZATION | {"x-embedway-space": pinned}
    status, _ = refusal(lambda: client.infer("plain", inputs, headers=headers))
    assert status == "FAILED_PRECONDITION"
    client.infer("plain", inputs, headers=AUTHORIZATION | {"x-embedway-space": "plain-space"})


FAULTS: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "not UTF-8": ({"contents": {"bytes_contents": [b"\xff"]}}, []),
    "raw and not UTF-8": ({}, [b"\x01\0\0\0\xff"]),
    "cut off": ({}, [b"\x05\0\0\0a"]),
    "no contents": ({}, []),
    "more contents than inputs": ({}, [b"\x01\0\0\0a"] * 2),
    "an empty text": ({}, [b"\0\0\0\0"]),
    "a negative axis": ({"shape": [-1]}, [b"\x01\0\0\0a"]),
    "no axis": ({"shape": []}, [b"\x01\0\0\0a"]),
    "a hundred axes": ({"shape": [1] * 100}, [b"\x01\0\0\0a"]),
    "a huge shape": ({"shape": [2**62, 2**62]}, [b"\x01\0\0\0a"]),
    "another datatype": ({"datatype": "FP32"}, [b"\0\0\0\0"]),
    "another name": ({"name": "PROMPT"}, [b"\x01\0\0\0a"]),
    "integers as text": ({"contents": {"int_contents": [1]}}, []),
}


@pytest.mark.parametrize(("changes", "raw"), FAULTS.values(), ids=FAULTS)
def test_a_message_at_fault(
    stub: GRPCInferenceServiceStub,
    router: RouterUnderTest,
    changes: dict[str, Any],
    raw: list[bytes],
) -> None:
    """A message at fault is INVALID_ARGUMENT, and no target is asked."""
    item = {"name": "TEXT", "datatype": "BYTES", "shape": [1]} | changes
    request = messages.ModelInferRequest(model_name="plain", inputs=[item], raw_input_contents=raw)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request, metadata=list(AUTHORIZATION.items()))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert router.fake("plain-target").calls == []


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"dimension": {"int64_param": 5}}},
        {"parameters": {"dimensions": {"string_param": "5"}}},
        {"parameters": {"dimensions": {}}},
        {"outputs": [{"name": "LOGITS"}]},
    ],
    ids=["unknown parameter", "wrong kind", "no value", "unknown output"],
)
def test_parameters_at_fault(stub: GRPCInferenceServiceStub, changes: dict[str, Any]) -> None:
    """Parameters and outputs that would be ignored are INVALID_ARGUMENT."""
    item = {"name": "TEXT", "datatype": "BYTES", "shape": [1]}
    request = messages.ModelInferRequest(
        model_name="plain", inputs=[item], raw_input_contents=[b"\x01\0\0\0a"], **changes
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request, metadata=list(AUTHORIZATION.items()))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (UpstreamUnavailableError("m", 7), "UNAVAILABLE", "7"),
        (UpstreamOverloadedError("m", 3), "RESOURCE_EXHAUSTED", "3"),
        (UpstreamContractError("m"), "INTERNAL", None),
    ],
    ids=["unavailable", "overloaded", "contract"],
)
def test_a_target_that_fails(
    stub: GRPCInferenceServiceStub,
    router: RouterUnderTest,
    failure: EmbedwayError,
    status: str,
    retry_after: str | None,
) -> None:
    """Each failure has its status, and metadata tells when to ask again where waiting helps."""
    router.fake("plain-target").fail_with = failure
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(one_text(), metadata=list(AUTHORIZATION.items()))
    assert (caught.value.code().name, caught.value.details()) == (status, "m")
    assert dict(caught.value.trailing_metadata()).get("retry-after") == retry_after
    router.logged("request", method="ModelInfer", error=failure.code)


def one_text() -> messages.ModelInferRequest:
    item = {"name": "TEXT", "datatype": "BYTES", "shape": [1]}
    return messages.ModelInferRequest(
        model_name="plain", inputs=[item], raw_input_contents=[b"\x01\0\0\0a"]
    )


def test_a_defect(client: triton.InferenceServerClient, router: RouterUnderTest) -> None:
    """An unexpected exception is INTERNAL and says nothing; the log has its kind and place."""
    router.replace("plain-target", upstreams.Defective(384, "the inside of things"))
    status, sentence = refusal(lambda: infer(client, text_inputs(triton, ["a"], (1,))))
    assert status == "INTERNAL"
    assert "inside" not in sentence
    defect = router.logged("defect", method="grpc", error="RuntimeError")
    assert "support/upstreams.py" in defect["at"]


def test_a_client_that_cancels(stub: GRPCInferenceServiceStub, router: RouterUnderTest) -> None:
    """A call that is cancelled cancels the target's work, is logged as 499, and leaves no trace."""
    fake = router.fake("plain-target")
    fake.delay_s, before = 30.0, fake.cancelled
    running = stub.ModelInfer.future(one_text(), metadata=list(AUTHORIZATION.items()))
    eventually(lambda: len(fake.calls) == 1)
    running.cancel()
    eventually(lambda: fake.cancelled == before + 1)
    eventually(lambda: router.room("plain-target") == (0, 0))
    router.logged("request", method="ModelInfer", status=499)


def test_a_connection_that_ends(router: RouterUnderTest) -> None:
    """A channel that closes within a call cancels the target's work."""
    fake = router.fake("plain-target")
    fake.delay_s, before = 30.0, fake.cancelled
    with grpc.insecure_channel(router.grpc_host) as channel:
        ask = GRPCInferenceServiceStub(channel).ModelInfer
        running = ask.future(one_text(), metadata=list(AUTHORIZATION.items()))
        eventually(lambda: len(fake.calls) == 1)
        assert not running.done()
    eventually(lambda: fake.cancelled == before + 1)


async def test_an_asynchronous_task_that_is_cancelled(
    async_client: triton_aio.InferenceServerClient, router: RouterUnderTest
) -> None:
    """Cancelling the caller's task cancels the target's work."""
    fake = router.fake("plain-target")
    fake.delay_s, before = 30.0, fake.cancelled
    task = asyncio.create_task(infer(async_client, text_inputs(triton_aio, ["a"], (1,))))
    await asyncio.to_thread(eventually, lambda: len(fake.calls) == 1)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.to_thread(eventually, lambda: fake.cancelled == before + 1)


@pytest.mark.parametrize("how", ["client_timeout", "timeout"])
def test_the_deadline(
    client: triton.InferenceServerClient, router: RouterUnderTest, how: str
) -> None:
    """The client's own deadline and the parameter `timeout` both end the target's work in time."""
    fake = router.fake("plain-target")
    fake.delay_s = 30.0
    options: dict[str, float] = (
        {"client_timeout": 0.3} if how == "client_timeout" else {"timeout": 300_000}
    )
    began_s = time.monotonic()
    status, _ = refusal(lambda: infer(client, text_inputs(triton, ["a"], (1,)), **options))
    assert status == "DEADLINE_EXCEEDED"
    assert time.monotonic() - began_s < fake.delay_s - 5
    eventually(lambda: router.room("plain-target") == (0, 0))


def test_a_message_over_the_limit(client: triton.InferenceServerClient) -> None:
    """A message over the limit of bodies is RESOURCE_EXHAUSTED."""
    inputs = text_inputs(triton, ["a" * 1_100_000], (1,))
    assert refusal(lambda: infer(client, inputs))[0] == "RESOURCE_EXHAUSTED"
