"""The backend in a real Triton server, asked over gRPC."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc.aio as grpc
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from router.up.errors import UpError
from tests.backend.conftest import Served, Server, cosines
from tests.support.triton import (
    MINILM_NAME,
    QWEN3_NAME,
    QWEN3_TEMPLATE,
    prepare_triton,
    running_triton,
)

TEXTS = ["hello", "the quick brown fox", "import numpy", "é" * 60, "a b c " * 30]
BUDGET = 2048


@pytest.fixture(params=[MINILM_NAME, QWEN3_NAME])
def model(request: pytest.FixtureRequest, server: Server) -> Served:
    return server.models[request.param]


def tensor(name: str, values: Any, kind: str = "INT32") -> InferInput:
    array = np.array(values, dtype=np.int32 if kind == "INT32" else object)
    made = InferInput(name, list(array.shape), kind)
    made.set_data_from_numpy(array)
    return made


def packed(sequences: list[list[int]]) -> list[InferInput]:
    ids = [token for sequence in sequences for token in sequence]
    lengths = [len(sequence) for sequence in sequences]
    return [tensor("INPUT_IDS", [ids]), tensor("LENGTHS", [lengths])]


def texts_of(texts: list[bytes]) -> list[InferInput]:
    return [tensor("TEXT", [texts], "BYTES")]


def ids_of(model: Served, texts: list[str]) -> list[list[int]]:
    return [ids.tolist() for ids in model.tokenise(texts)]


async def infer(server: Server, name: str, inputs: list[InferInput]) -> np.ndarray:
    answer = await server.client.infer(name, inputs)
    vectors = answer.as_numpy("EMBEDDING")
    assert vectors is not None
    return vectors


async def refusal(server: Server, name: str, inputs: list[InferInput]) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as error:
        await infer(server, name, inputs)
    return str(error.value.status()), str(error.value.message())


async def test_vectors_equal_sentence_transformers(server: Server, model: Served) -> None:
    """Packed ids and texts give the reference's vectors, in order, [1, n, dimensions]."""
    expected = model.reference.encode(TEXTS)
    by_ids = await infer(server, model.name, packed(ids_of(model, TEXTS)))
    by_text = await infer(server, model.name, texts_of([text.encode() for text in TEXTS]))
    assert by_ids.shape == (1, len(TEXTS), model.card.chain.dimensions)
    assert by_ids.dtype == np.float32
    assert cosines(by_ids[0], expected).min() >= 0.9999
    assert np.array_equal(by_ids, by_text)


async def test_a_row_a_text(server: Server, model: Served) -> None:
    """Texts given as [n, 1] are answered as [n, 1, dimensions]."""
    rows = tensor("TEXT", [[text.encode()] for text in TEXTS], "BYTES")
    vectors = await infer(server, model.name, [rows])
    assert vectors.shape == (len(TEXTS), 1, model.card.chain.dimensions)
    assert cosines(vectors[:, 0], model.reference.encode(TEXTS)).min() >= 0.9999


async def test_bad_requests_fail_alone(server: Server, model: Served) -> None:
    """Among sixty concurrent requests the bad ones are INVALID_ARGUMENT and the good ones right."""
    good = ids_of(model, TEXTS)
    bad = [
        [tensor("INPUT_IDS", [[1, 2]]), tensor("LENGTHS", [[3]])],
        [tensor("INPUT_IDS", [[1, 2]]), tensor("LENGTHS", [[2, 0]])],
        packed([[1, 10**6]]),
        packed([[1] * 600]),
        [tensor("INPUT_IDS", [[1, 2]])],
        texts_of([b"\xff\xfe"]),
        [*packed([[1]]), *texts_of([b"both"])],
    ]
    requests: list[list[InferInput]] = []
    for number in range(60):
        is_bad = number % 3 == 0
        requests.append(bad[number // 3 % len(bad)] if is_bad else packed([good[number % 5]]))
    asked = [server.client.infer(model.name, inputs) for inputs in requests]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    expected = model.reference.encode(TEXTS)
    for number, answer in enumerate(answers):
        if number % 3 == 0:
            assert isinstance(answer, InferenceServerException)
            assert answer.status() == "StatusCode.INVALID_ARGUMENT"
        else:
            assert isinstance(answer, grpc.InferResult)
            vectors = answer.as_numpy("EMBEDDING")[0]
            assert cosines(vectors, expected[[number % 5]]).min() >= 0.9999


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            lambda: packed([[1] * 300]),
            "sequence 1 of 1 has 300 tokens: the model takes at most 256",
        ),
        (lambda: texts_of([b"fine", b""]), "text 2 of 2 is empty"),
        (
            lambda: [tensor("INPUT_IDS", [[1]])],
            "give either INPUT_IDS and LENGTHS, or TEXT alone",
        ),
    ],
    ids=["too long", "empty text", "no lengths"],
)
async def test_refusals_give_counts(server: Server, inputs: Any, message: str) -> None:
    """A refusal reaches the client as INVALID_ARGUMENT with the backend's own sentence."""
    code, said = await refusal(server, MINILM_NAME, inputs())
    assert code == "StatusCode.INVALID_ARGUMENT"
    assert message in said


@dataclass(frozen=True, slots=True)
class Counts:
    """What Triton has counted of a model: requests answered, batches, and the requests in them."""

    requests: int
    batches: int
    batched: int


async def counts(client: grpc.InferenceServerClient, name: str) -> Counts:
    (stats,) = (await client.get_inference_statistics(name)).model_stats
    # Triton reads `execution_count` before the rest, and may count a batch in between: batches and
    # what was in them are taken from one place, or they would not belong together.
    sizes = {one.batch_size: one.compute_infer.count for one in stats.batch_stats}
    batched = sum(size * count for size, count in sizes.items())
    return Counts(stats.inference_count, sum(sizes.values()), batched)


async def still_counts(client: grpc.InferenceServerClient, name: str) -> Counts:
    """Once what was answered before is counted: Triton counts after an answer has left."""
    before = await counts(client, name)
    while True:
        await asyncio.sleep(0.3)
        now = await counts(client, name)
        if now == before:
            return now
        before = now


async def test_batches_stay_within_the_token_budget(server: Server) -> None:
    """Forty requests of 512 tokens take ten batches or more, and some share one."""
    before = await still_counts(server.client, MINILM_NAME)
    inputs = packed([[1000] * 256, [2000] * 256])
    await asyncio.gather(*(infer(server, MINILM_NAME, inputs) for _ in range(40)))
    # Triton counts the requests of a batch, and the batch after them.
    now = await still_counts(server.client, MINILM_NAME)
    async with asyncio.timeout(60):
        while min(now.requests - before.requests, now.batched - before.batched) < 40:
            now = await still_counts(server.client, MINILM_NAME)
    assert now.batched - before.batched == now.requests - before.requests == 40
    assert 40 * 512 / BUDGET <= now.batches - before.batches < 40


def cpu_s(stubs: list[psutil.Process]) -> float:
    """What they have computed so far, which no other work of the machine adds to."""
    return sum(sum(stub.cpu_times()[:2]) for stub in stubs)


MICRO_BATCH = packed([[1000] * 256] * (BUDGET // 256))
LARGE = packed([[1000] * 256] * (100 * BUDGET // 256))
# Of a hundred micro-batches; the others are room for what a busy machine adds to their cost.
FEW = 20


@dataclass(frozen=True, slots=True)
class Large:
    """A request of a hundred micro-batches under way, and what computes it."""

    answer: asyncio.Task[np.ndarray]
    stubs: list[psutil.Process]
    few_s: float
    """CPU seconds of a few micro-batches."""


@asynccontextmanager
async def large_request(server: Server) -> AsyncIterator[Large]:
    """It is given up at the end."""
    stubs = server.triton.stubs(MINILM_NAME)
    assert stubs
    idle_s = cpu_s(stubs)
    await infer(server, MINILM_NAME, MICRO_BATCH)
    before_s = cpu_s(stubs)
    # The clock of CPU time ticks a hundred times a second.
    few_s = FEW * (before_s - idle_s + 0.02)
    answer = asyncio.create_task(infer(server, MINILM_NAME, LARGE))
    async with asyncio.timeout(60):
        while cpu_s(stubs) < before_s + few_s / FEW:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    yield Large(answer, stubs, few_s)
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer


async def test_a_large_request_lets_others_pass(server: Server) -> None:
    """Behind a request of a hundred micro-batches a query is answered within a few of them."""
    async with large_request(server) as large:
        before_s = cpu_s(large.stubs)
        await infer(server, MINILM_NAME, packed([[101, 102]]))
        assert cpu_s(large.stubs) - before_s < large.few_s
        assert not large.answer.done()


async def test_cancelling_frees_the_model(server: Server) -> None:
    """Of a cancelled request of a hundred micro-batches a few more are computed at most."""
    async with large_request(server) as large:
        before_s = seen_s = cpu_s(large.stubs)
    async with asyncio.timeout(200):
        await asyncio.sleep(3)
        while (now_s := cpu_s(large.stubs)) - seen_s >= 0.05:
            seen_s = now_s
            await asyncio.sleep(3)
    assert now_s - before_s < large.few_s, "the model still computes for a caller who left"


async def test_warm_up_ran_before_ready(qwen3_folder: Path) -> None:
    """When a model becomes ready, its instance has already run the warm-up's one batch."""
    async with (
        running_triton({QWEN3_NAME: (qwen3_folder, QWEN3_TEMPLATE)}) as fresh,
        grpc.InferenceServerClient(f"127.0.0.1:{fresh.process.ports.grpc}") as client,
    ):
        # Nobody has asked for anything: what is counted, if a moment later, is the warm-up's.
        async with asyncio.timeout(60):
            while not (await counts(client, QWEN3_NAME)).batches:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await still_counts(client, QWEN3_NAME)).batches == 1


async def test_the_server_knows_the_batch_strategy(server: Server, model: Served) -> None:
    """Triton loaded the strategy from the backend's folder for each model."""
    log = server.triton.process.log.read_text(errors="replace")
    assert f"batchstrategy.so for model {model.name}" in log


async def test_a_missing_folder_is_one_sentence(qwen3_folder: Path, tmp_path: Path) -> None:
    """A server whose model's folder is gone does not start, and its log says why in one line."""
    weights = Path(shutil.copytree(qwen3_folder, tmp_path / "model"))
    triton = await prepare_triton(
        tmp_path / "embedway-test", {QWEN3_NAME: (weights, QWEN3_TEMPLATE)}
    )
    shutil.rmtree(weights)
    triton.start()
    try:
        with pytest.raises(UpError, match=f"the model folder {weights} does not exist"):
            await triton.wait_ready([QWEN3_NAME], timeout_s=90)
    finally:
        await triton.stop()
