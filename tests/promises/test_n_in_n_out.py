"""Promise 3: as many vectors as inputs, in order, finite, of unit length and right dimension."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from router.domain.types import Caller, EmbeddingRequest
from router.upstreams.fake import FakeUpstream
from router.upstreams.packing import PackingUpstream
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import MAX_TOKENS
from tests.support.wire import embed, vectors

OVER_HTTP = settings(
    max_examples=120,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_TOKENS // 4)
ID = st.integers(0, 30_521)
INPUTS = st.one_of(
    TEXT,
    st.lists(TEXT, min_size=1, max_size=40),
    st.lists(ID, min_size=1, max_size=MAX_TOKENS - 2),
    st.lists(st.lists(ID, min_size=1, max_size=MAX_TOKENS - 2), min_size=1, max_size=40),
)


def _as_list(given: Any) -> list[Any]:
    """The inputs one by one."""
    return given if isinstance(given, list) and not isinstance(given[0], int) else [given]


@OVER_HTTP
@given(inputs=INPUTS, dimensions=st.none() | st.integers(32, 256))
def test_any_inputs(router: RouterUnderTest, inputs: Any, dimensions: int | None) -> None:
    """Every input has its vector, at its place, whatever the kind, number and dimension."""
    chosen = {} if dimensions is None else {"dimensions": dimensions}
    answer = embed(router, model="org/wide", input=inputs, **chosen)
    got = np.array(vectors(answer), np.float32)
    items = _as_list(inputs)
    assert got.shape == (len(items), dimensions or 256)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    # The last alone, to see that order was kept: no two different inputs share a vector.
    alone = vectors(embed(router, model="org/wide", input=[items[-1]], **chosen))
    assert np.array_equal(got[-1], np.array(alone[0], np.float32))


def test_the_largest_request(router: RouterUnderTest) -> None:
    """2048 different texts have 2048 different vectors, each its own."""
    texts = [f"text number {number}" for number in range(2048)]
    got = vectors(embed(router, input=texts))
    assert len({tuple(vector) for vector in got}) == 2048
    for place in (0, 1, 1023, 2047):
        assert got[place] == vectors(embed(router, input=texts[place]))[0]


async def _together(router: RouterUnderTest, groups: list[list[str]]) -> list[Any]:
    """All groups in one turn of the router's event loop, so that they share calls."""
    deadline_s = time.monotonic() + 30
    requests = [EmbeddingRequest("plain", deadline_s, texts=group) for group in groups]
    caller = Caller("testers", "test-key")
    work = (router.app.service.embed(request, caller) for request in requests)
    return await asyncio.gather(*work)


@settings(OVER_HTTP, max_examples=40)
@given(sizes=st.lists(st.integers(1, 7), min_size=2, max_size=20), limit=st.integers(5, 200))
def test_packed_requests_do_not_mix(router: RouterUnderTest, sizes: list[int], limit: int) -> None:
    """Requests that share calls to the target each get the vectors they would get alone."""
    groups = [
        [f"text {place} {number}" for number in range(size)] for place, size in enumerate(sizes)
    ]
    fake = FakeUpstream(384)
    before = router.replace("plain-target", PackingUpstream(fake, limit))
    results = router.run(_together(router, groups))
    router.replace("plain-target", before)
    for group, result in zip(groups, results, strict=True):
        assert np.array_equal(result.vectors, np.array(vectors(embed(router, input=group)), "f4"))
    assert sum(call.count for call in fake.calls) == sum(sizes)
    if limit == 200:
        assert len(fake.calls) < len(groups)


def test_packing_really_happens(router: RouterUnderTest) -> None:
    """Twenty requests of one turn are one call: the property above is not about single calls."""
    fake = FakeUpstream(384)
    before = router.replace("plain-target", PackingUpstream(fake, 10_000))
    router.run(_together(router, [[str(number)] for number in range(20)]))
    router.replace("plain-target", before)
    assert len(fake.calls) == 1


def test_concurrent_clients_of_the_real_model(triton_router: RouterUnderTest, minilm: Path) -> None:
    """Under concurrency, packed and batched, each text has the vector that it has alone."""
    words = list(Tokenizer.from_file(str(minilm / "tokenizer.json")).get_vocab())[1000:1200:2]
    groups = [words[start : start + 1 + start % 3] for start in range(0, 96, 2)]
    with ThreadPoolExecutor(16) as pool:
        got = list(
            pool.map(lambda group: embed(triton_router, model="minilm", input=group), groups)
        )
    for group, answer in zip(groups, got, strict=True):
        alone = embed(triton_router, model="unpacked", input=group)
        np.testing.assert_allclose(vectors(answer), vectors(alone), atol=2e-6)
