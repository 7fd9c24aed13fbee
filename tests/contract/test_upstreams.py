"""What every upstream owes the pipeline, the fake as well as the real ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest

from benchmarks.chaos.local_provider import LocalProvider
from benchmarks.chaos.manners import MANNERS
from router.domain.errors import DeadlineExceededError, UpstreamUnavailableError
from router.domain.ports import Upstream
from router.domain.types import TokenBatch
from router.upstreams.fake import FakeUpstream
from router.upstreams.packing import PackingUpstream
from router.upstreams.triton import TritonUpstream
from router.upstreams.triton_padded import TritonPaddedUpstream
from tests.support.padded_triton import PADDED_NAME, PROFILES, PaddedTriton
from tests.support.providers import upstream_of
from tests.support.triton import MINILM_NAME, SharedTriton

PATIENCE_S = 60.0
SHORT = [101, 7592, 102]
LONG = [101, *[2088, 1996, 4248] * 60, 102]


def batch(*sequences: list[int]) -> TokenBatch:
    return TokenBatch(
        ids=np.array([token for ids in sequences for token in ids], np.int32),
        lengths=np.array([len(ids) for ids in sequences], np.int32),
        texts=tuple(" ".join(map(str, ids)) for ids in sequences),
    )


@pytest.fixture(
    params=[
        "fake",
        "fake, packed",
        "triton",
        "triton, packed",
        "padded",
        "padded, packed",
        *MANNERS,
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of upstream; the real Triton is started only where one is asked for."""
    if request.param.startswith("triton"):
        request.getfixturevalue("triton")
    if request.param.startswith("padded"):
        request.getfixturevalue("padded_triton")
    return str(request.param)


@pytest.fixture
async def upstream(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    """One of that kind, ready; providers are local servers that keep to their documentation."""
    name, _, packed = kind.partition(", ")
    async with contextlib.AsyncExitStack() as stack:
        if name in MANNERS:
            provider = await stack.enter_async_context(LocalProvider(name, 384, delay_s=0.005))
            made: Upstream = upstream_of(provider, name)
        elif name == "fake":
            made = FakeUpstream(384, delay_s=0.005)
        elif name == "padded":
            padded: PaddedTriton = request.getfixturevalue("padded_triton")
            made = TritonPaddedUpstream(padded.url, PADDED_NAME, PROFILES)
        else:
            shared: SharedTriton = request.getfixturevalue("triton")
            made = TritonUpstream(f"grpc://127.0.0.1:{shared.process.ports.grpc}", MINILM_NAME)
        upstream = PackingUpstream(made, 4096) if packed else made
        yield upstream
        await upstream.close()


async def test_n_vectors_come_in_order(upstream: Upstream) -> None:
    """Float32 rows of unit length; each is that of its own sequence, whatever stands beside it."""
    together = await upstream.embed(batch(SHORT, LONG, SHORT), PATIENCE_S)
    assert together.shape == (3, 384)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    long = await upstream.embed(batch(LONG), PATIENCE_S)
    np.testing.assert_allclose(together[1], long[0], atol=1e-5)
    np.testing.assert_allclose(together[0], together[2], atol=1e-5)
    assert abs(float(together[0] @ together[1])) < 0.99


async def test_calls_at_the_same_time_do_not_mix(upstream: Upstream) -> None:
    """Each caller gets the vectors that it would get alone."""
    batches = [batch([*SHORT[:2], token], SHORT) for token in range(2000, 2020)]
    answers = await asyncio.gather(*(upstream.embed(one, PATIENCE_S) for one in batches))
    for one, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, await upstream.embed(one, PATIENCE_S), atol=1e-5)


async def test_it_says_that_it_is_ready(upstream: Upstream) -> None:
    """A target that serves is ready."""
    assert await upstream.ready() is True


def much(kind: str) -> TokenBatch:
    """What is surely not done in milliseconds, not even while this process stands still."""
    return batch(*[LONG] * (64 if kind.startswith("triton") else 8))


async def test_the_timeout_is_kept(upstream: Upstream, kind: str) -> None:
    """An answer that does not come in time is the deadline's error, not a hang."""
    with pytest.raises(DeadlineExceededError):
        await upstream.embed(much(kind), 0.001)


async def test_a_call_that_is_given_up_leaves_it_usable(upstream: Upstream, kind: str) -> None:
    """Cancelling one call disturbs no other."""
    given_up = asyncio.create_task(upstream.embed(much(kind), PATIENCE_S))
    await asyncio.sleep(0.002)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert (await upstream.embed(batch(SHORT), PATIENCE_S)).shape == (1, 384)


async def test_after_closing_it_is_neither_ready_nor_used(upstream: Upstream) -> None:
    """Whoever comes too late is told so, in the words of the domain."""
    await upstream.close()
    assert await upstream.ready() is False
    with pytest.raises(UpstreamUnavailableError):
        await upstream.embed(batch(SHORT), 1)


async def test_a_target_that_is_not_there_is_unavailable() -> None:
    """A refused connection is no other error than a server that is starting."""
    upstream = TritonUpstream("grpc://127.0.0.1:1", MINILM_NAME)
    assert await upstream.ready() is False
    with pytest.raises(UpstreamUnavailableError):
        await upstream.embed(batch(SHORT), PATIENCE_S)
    await upstream.close()


async def test_a_model_that_is_not_there_is_unavailable(triton: SharedTriton) -> None:
    """Triton's "unknown model" is what a server says that loads, or unloads, it."""
    upstream = TritonUpstream(f"grpc://127.0.0.1:{triton.process.ports.grpc}", "nobody")
    assert await upstream.ready() is False
    with pytest.raises(UpstreamUnavailableError):
        await upstream.embed(batch(SHORT), PATIENCE_S)
    await upstream.close()


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    """A refused connection to a provider is the same error."""
    provider = LocalProvider("qwen")
    async with provider:
        upstream = upstream_of(provider, "qwen")
    with pytest.raises(UpstreamUnavailableError):
        await upstream.embed(batch(SHORT), PATIENCE_S)
    await upstream.close()
