"""Padded batches through a real Triton: the vectors, the shapes, the refusals."""

import asyncio
import math

import numpy as np
import pytest
import tritonclient.grpc.aio as grpc

from router.domain.errors import (
    DeadlineExceededError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.types import TokenBatch
from router.upstreams.packing import PackingUpstream
from router.upstreams.padding import Profile, plan_batches
from router.upstreams.triton_padded import TritonPaddedUpstream
from tests.support.padded_triton import PADDED_NAME, PROFILES, PaddedTriton
from tests.tensorrt.models import LIKE_MINILM, random_sequences, reference, write_model

LONGEST = PROFILES[-1].tokens
# Between two looks that find the same.
_QUIET_S = 0.3


def batch_of(sequences: list[np.ndarray]) -> TokenBatch:
    return TokenBatch(
        ids=np.concatenate(sequences),
        lengths=np.array([len(ids) for ids in sequences], np.int32),
    )


async def executions(triton: PaddedTriton) -> int:
    """Calls that the model has answered so far; Triton counts one a moment after its answer."""
    before, now = -1, await _counted(triton)
    while now != before:
        await asyncio.sleep(_QUIET_S)
        before, now = now, await _counted(triton)
    return now


async def _counted(triton: PaddedTriton) -> int:
    async with grpc.InferenceServerClient(triton.url.removeprefix("grpc://")) as client:
        (stats,) = (await client.get_inference_statistics(PADDED_NAME)).model_stats
        return int(stats.execution_count)


async def test_vectors_equal_transformers_in_order(
    padded_triton: PaddedTriton, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Forty shuffled sequences of 1 … the longest, over several batches of both profiles."""
    model = write_model(tmp_path_factory.mktemp("same") / "model", LIKE_MINILM, vocabulary=8000)
    numbers = np.random.default_rng(9)
    lengths = numbers.permutation([*numbers.integers(1, 90, 36), 1, 64, 65, LONGEST])
    sequences = random_sequences(lengths, vocabulary=8000)
    upstream = TritonPaddedUpstream(padded_triton.url, PADDED_NAME, PROFILES)
    before = await executions(padded_triton)
    ours = await upstream.embed(batch_of(sequences), 60)
    await upstream.close()
    assert (ours * reference(model, sequences)).sum(axis=1).min() >= 0.9999
    planned = plan_batches([len(ids) for ids in sequences], PROFILES)
    assert await executions(padded_triton) - before == len(planned) > 9


async def test_every_number_of_rows_is_served(padded_triton: PaddedTriton) -> None:
    """One more than a profile's rows is a second batch, and never a refusal."""
    upstream = TritonPaddedUpstream(padded_triton.url, PADDED_NAME, PROFILES)
    for profile in PROFILES:
        for count in range(1, 2 * profile.rows + 2):
            vectors = await upstream.embed(batch_of(random_sequences([profile.tokens] * count)), 60)
            assert vectors.shape == (count, LIKE_MINILM.hidden)
            assert math.isclose(float(np.linalg.norm(vectors[-1])), 1, abs_tol=1e-5)
    await upstream.close()


async def test_what_no_profile_takes_is_refused_before_the_call(
    padded_triton: PaddedTriton,
) -> None:
    """The refusal counts tokens, and no call leaves, not even for the others."""
    upstream = TritonPaddedUpstream(padded_triton.url, PADDED_NAME, PROFILES)
    before = await executions(padded_triton)
    with pytest.raises(UpstreamRejectedError, match=r"has 257 tokens, .* at most 256"):
        await upstream.embed(batch_of(random_sequences([3, 257])), 10)
    assert await executions(padded_triton) == before
    await upstream.close()


async def test_a_too_long_sequence_fails_alone_in_a_pack(padded_triton: PaddedTriton) -> None:
    """Those who share its call are served."""
    upstream = PackingUpstream(
        TritonPaddedUpstream(padded_triton.url, PADDED_NAME, PROFILES), max_tokens=4096
    )
    short, long = (batch_of(random_sequences([length])) for length in (3, 257))
    answers = await asyncio.gather(
        *(upstream.embed(one, 10) for one in (short, long, short)), return_exceptions=True
    )
    assert isinstance(answers[1], UpstreamRejectedError)
    assert np.array_equal(answers[0], answers[2])
    await upstream.close()


async def test_profiles_that_the_target_lacks_are_its_failure(padded_triton: PaddedTriton) -> None:
    """Where settings promise more than the engine has, a caller gets an error and no vector."""
    upstream = TritonPaddedUpstream(padded_triton.url, PADDED_NAME, [Profile(8, LONGEST)])
    with pytest.raises(UpstreamError, match=r"the target failed"):
        await upstream.embed(batch_of(random_sequences([9] * 8)), 10)
    await upstream.close()


async def test_one_deadline_covers_all_batches(padded_triton: PaddedTriton) -> None:
    """Batches that wait for their turn do not begin the deadline anew."""
    upstream = TritonPaddedUpstream(padded_triton.url, PADDED_NAME, PROFILES)
    many = batch_of(random_sequences([LONGEST] * 400))
    # No single batch takes that long, all of them many times as long.
    with pytest.raises(DeadlineExceededError):
        await upstream.embed(many, 0.5)
    await upstream.close()


async def test_a_request_of_many_batches_leaves_room_for_others(
    padded_triton: PaddedTriton,
) -> None:
    """A short one that comes later is answered long before the many are done."""
    upstream = TritonPaddedUpstream(padded_triton.url, PADDED_NAME, PROFILES)
    many = asyncio.create_task(upstream.embed(batch_of(random_sequences([LONGEST] * 80)), 60))
    await asyncio.sleep(0.05)
    await upstream.embed(batch_of(random_sequences([3])), 60)
    assert not many.done()
    assert (await many).shape == (80, LIKE_MINILM.hidden)
    await upstream.close()


async def test_giving_up_ends_all_batches(padded_triton: PaddedTriton) -> None:
    """After a cancelled request of many batches the target is free at once."""
    upstream = TritonPaddedUpstream(padded_triton.url, PADDED_NAME, PROFILES)
    before = await executions(padded_triton)
    many = asyncio.create_task(upstream.embed(batch_of(random_sequences([LONGEST] * 400)), 60))
    await asyncio.sleep(0.2)
    many.cancel()
    with pytest.raises(asyncio.CancelledError):
        await many
    await upstream.embed(batch_of(random_sequences([3])), 60)
    assert await executions(padded_triton) - before < 150
    await upstream.close()


async def test_a_target_that_is_not_there_is_unavailable() -> None:
    """The failure of one of several batches is the request's, and no group of errors."""
    upstream = TritonPaddedUpstream("grpc://127.0.0.1:1", PADDED_NAME, PROFILES)
    assert await upstream.ready() is False
    with pytest.raises(UpstreamUnavailableError):
        await upstream.embed(batch_of(random_sequences([3, 200])), 5)
    await upstream.close()
