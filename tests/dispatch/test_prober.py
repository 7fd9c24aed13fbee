"""A target serves a space only while its vectors are those of the space."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.dispatch import references
from router.dispatch.prober import Prober, WatchedSpace
from router.domain.errors import (
    ConfigurationError,
    UpstreamContractError,
    UpstreamSpaceError,
    UpstreamUnavailableError,
)
from router.domain.types import Float32Array, Space, TokenBatch
from router.routing.breaker import BreakerLimits
from router.routing.targets import Standing, TargetLimits, TargetState
from router.routing.verification import Record, Tolerance
from router.text.golden import GOLDEN_TEXTS, canary_batch, golden_batches
from router.text.tokenizer import HuggingFaceTokenizer
from router.upstreams.canary import CanaryUpstream
from router.upstreams.fake import FakeUpstream
from router.vectors.agreement import agreement

DIMENSIONS = 32
SPACE = Space("s", "m", DIMENSIONS, 64)


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.load(minilm, "m", None)


class Changed(FakeUpstream):
    """Gives the fake's vectors, changed."""

    def __init__(self, change: Any) -> None:
        super().__init__(DIMENSIONS)
        self.change = change

    async def embed(self, batch: TokenBatch, timeout_s: float) -> Float32Array:
        vectors = await super().embed(batch, timeout_s)
        return np.asarray(self.change(vectors), np.float32)


def rotated(vectors: Float32Array) -> Float32Array:
    """Another model: same lengths and likenesses, other directions."""
    return vectors[:, ::-1]


def noisy(share: float) -> Any:
    def change(vectors: Float32Array) -> Float32Array:
        noise = np.random.default_rng(3).standard_normal(vectors.shape)
        noise *= share / np.linalg.norm(noise, axis=1, keepdims=True)
        changed = vectors + noise
        return np.asarray(changed / np.linalg.norm(changed, axis=1, keepdims=True))

    return change


class Watch:
    """A prober over `reference` and `other`."""

    def __init__(
        self, tokenizer: HuggingFaceTokenizer, other: FakeUpstream, known: Any = None
    ) -> None:
        self.upstreams = {"reference": FakeUpstream(DIMENSIONS), "other": other}
        self.events: list[tuple[str, str]] = []
        self.states = {
            name: TargetState(
                name, TargetLimits(max_inputs=10), BreakerLimits(), lambda _: True, lambda: 0.0
            )
            for name in self.upstreams
        }
        self.watched = WatchedSpace(
            SPACE,
            golden_batches(SPACE, tokenizer),
            ("reference", "other"),
            "reference",
            Tolerance(),
            interval_s=0.01,
            retry_s=0.01,
            known=known,
        )
        self.prober = Prober(
            [self.watched],
            self.upstreams,
            self.states,
            lambda name: self.upstreams[name].is_ready,
            lambda name, standing, _: self.events.append((name, standing.value)),
        )

    def standing(self, name: str = "other") -> Standing:
        return self.states[name].standing

    async def until(self, standing: Standing) -> None:
        async with asyncio.timeout(5):
            while self.standing() is not standing:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def test_a_target_joins_after_it_was_found_equal(tokenizer: HuggingFaceTokenizer) -> None:
    """Not before; the reference itself defines the space."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    assert watch.standing("reference") is Standing.VERIFIED
    assert watch.standing() is Standing.UNVERIFIED
    watch.prober.start()
    await watch.until(Standing.VERIFIED)
    await watch.prober.close()
    assert watch.events == [("other", "verified")]
    assert max(call.count for call in watch.upstreams["other"].calls) <= 10


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(rotated, id="another model"),
        pytest.param(noisy(0.3), id="cosine 0.95"),
        pytest.param(lambda vectors: np.roll(vectors, 1, axis=0), id="shifted by one"),
        pytest.param(lambda vectors: vectors * 1.5, id="not of unit length"),
        pytest.param(lambda vectors: vectors[:, :-1], id="another dimension"),
        pytest.param(lambda vectors: np.where(vectors > 0.4, np.nan, vectors), id="NaN"),
        pytest.param(lambda vectors: -vectors, id="another sign"),
    ],
)
async def test_a_target_that_differs_never_joins(
    tokenizer: HuggingFaceTokenizer, change: Any
) -> None:
    """However it differs."""
    watch = Watch(tokenizer, Changed(change))
    watch.prober.start()
    await watch.until(Standing.QUARANTINED)
    await watch.prober.close()
    assert watch.events == [("other", "quarantined")]


async def test_small_differences_are_tolerated(tokenizer: HuggingFaceTokenizer) -> None:
    """Engines and precisions differ a little; that is still the same space."""
    watch = Watch(tokenizer, Changed(noisy(0.05)))
    watch.prober.start()
    await watch.until(Standing.VERIFIED)
    await watch.prober.close()
    assert 0.99 < watch.prober.records["other"].last.least_cosine < 0.9999


async def test_drift_quarantines_and_recovery_takes_two_passes(
    tokenizer: HuggingFaceTokenizer,
) -> None:
    """A model that is swapped later is found; one lucky answer does not bring it back."""
    other = Changed(lambda vectors: vectors)
    watch = Watch(tokenizer, other)
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.VERIFIED
    other.change = rotated
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.QUARANTINED
    other.change = lambda vectors: vectors
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.QUARANTINED
    await watch.prober.probe(watch.watched, "other")
    assert watch.standing() is Standing.VERIFIED
    assert [event for _, event in watch.events] == ["verified", "quarantined", "verified"]


async def test_the_reference_may_drift_too(tokenizer: HuggingFaceTokenizer) -> None:
    """Its first vectors are the space's; when it gives others later, it is out."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    await watch.prober.probe(watch.watched, "reference")
    watch.upstreams["reference"] = Changed(rotated)
    await watch.prober.probe(watch.watched, "reference")
    assert watch.standing("reference") is Standing.QUARANTINED


async def test_a_target_that_is_down_keeps_its_standing(tokenizer: HuggingFaceTokenizer) -> None:
    """Being away is the breaker's matter, and no drift."""
    other = FakeUpstream(DIMENSIONS)
    watch = Watch(tokenizer, other)
    watch.prober.start()
    await watch.until(Standing.VERIFIED)
    other.fail_with = UpstreamUnavailableError("down")
    await asyncio.sleep(0.05)
    assert watch.standing() is Standing.VERIFIED
    await watch.prober.close()


async def test_without_the_reference_nobody_joins_unless_it_is_in_a_file(
    tokenizer: HuggingFaceTokenizer, tmp_path: Path
) -> None:
    """A router that starts while its own fleet is down still knows what the vectors should be."""
    watch = Watch(tokenizer, FakeUpstream(DIMENSIONS))
    vectors = await watch.prober.golden_vectors(watch.watched, "reference")
    watch.upstreams["reference"].is_ready = False
    watch.prober.start()
    await asyncio.sleep(0.05)
    await watch.prober.close()
    assert watch.standing() is Standing.UNVERIFIED

    batches = watch.watched.batches
    references.save(tmp_path / "space.npz", batches, vectors)
    known = references.load(tmp_path / "space.npz", batches, DIMENSIONS)
    again = Watch(tokenizer, FakeUpstream(DIMENSIONS), known)
    again.upstreams["reference"].is_ready = False
    again.prober.start()
    await again.until(Standing.VERIFIED)
    await again.prober.close()
    assert again.standing("reference") is Standing.UNVERIFIED


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_file_of_something_else_is_refused(
    tokenizer: HuggingFaceTokenizer, tmp_path: Path, content: bytes | None
) -> None:
    """One sentence, and no pickle is ever read."""
    path, batches = tmp_path / "space.npz", golden_batches(SPACE, tokenizer)
    if content is None:
        references.save(path, batches[:1], np.zeros((len(GOLDEN_TEXTS), DIMENSIONS), np.float32))
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        references.load(path, batches, DIMENSIONS)


def test_golden_texts_fit_every_space(tokenizer: HuggingFaceTokenizer) -> None:
    """Cut to what the space takes, every one of them has a text that a provider can be sent."""
    for max_tokens in (16, 64, 512, 32768):
        documents, query = golden_batches(Space("s", "m", 8, max_tokens), tokenizer)
        assert documents.count == len(GOLDEN_TEXTS)
        assert int(documents.lengths.max()) <= max_tokens
        assert documents.texts is not None
        assert query.count == 1


async def canary(upstream: FakeUpstream, tokenizer: HuggingFaceTokenizer) -> CanaryUpstream:
    batch = canary_batch(SPACE, tokenizer)
    expected = (await FakeUpstream(DIMENSIONS).embed(batch, 1))[0]
    return CanaryUpstream(upstream, batch, lambda: expected, 0.99)


ASKED = TokenBatch(np.arange(6, dtype="i4"), np.array([2, 3, 1], "i4"), ("a", "b", "c"))


async def test_the_canary_never_comes_out(tokenizer: HuggingFaceTokenizer) -> None:
    """The caller gets its own vectors; the target got one input more."""
    fake = FakeUpstream(DIMENSIONS)
    vectors = await (await canary(fake, tokenizer)).embed(ASKED, 1)
    assert np.array_equal(vectors, await FakeUpstream(DIMENSIONS).embed(ASKED, 1))
    assert (fake.calls[0].count, fake.calls[0].texts) == (4, ("a", "b", "c", "harbour"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param(rotated, UpstreamSpaceError, id="another model"),
        pytest.param(
            lambda vectors: np.roll(vectors, 1, axis=0), UpstreamSpaceError, id="shifted by one"
        ),
        pytest.param(
            lambda vectors: np.repeat(vectors[:1], len(vectors), 0), UpstreamSpaceError, id="one"
        ),
        pytest.param(lambda vectors: vectors[:-1], UpstreamContractError, id="one too few"),
        pytest.param(lambda vectors: vectors * np.nan, UpstreamContractError, id="NaN"),
        pytest.param(lambda vectors: vectors[:, 1:], UpstreamContractError, id="dimension"),
    ],
)
async def test_the_canary_tells_before_a_vector_is_used(
    tokenizer: HuggingFaceTokenizer, change: Any, error: type[Exception]
) -> None:
    """In the very call in which it happens."""
    with pytest.raises(error) as caught:
        await (await canary(Changed(change), tokenizer)).embed(ASKED, 1)
    assert type(caught.value) is error


async def test_another_input_type_carries_no_canary(tokenizer: HuggingFaceTokenizer) -> None:
    """A provider's own prompt changes the vector, which is known for documents only."""
    fake = FakeUpstream(DIMENSIONS)
    asked = TokenBatch(ASKED.ids, ASKED.lengths, ASKED.texts, "search_query")
    assert len(await (await canary(fake, tokenizer)).embed(asked, 1)) == 3
    assert fake.calls[0].count == 3


def test_agreement_with_itself_is_whole() -> None:
    """Cosine one, the same ranking, no norm error."""
    vectors = np.random.default_rng(0).standard_normal((9, DIMENSIONS)).astype("f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = agreement(vectors, vectors)
    assert found.least_cosine == pytest.approx(1, abs=1e-6)
    assert found.rank_agreement == pytest.approx(1)
    assert found.norm_error < 1e-6


def test_a_ranking_may_differ_where_cosines_hardly_do() -> None:
    """The third measure sees what the first lets pass: a small drift in one common direction."""
    base = np.eye(12, DIMENSIONS, dtype=np.float32) + 0.02 * np.random.default_rng(1).random(
        (12, DIMENSIONS), dtype=np.float32
    )
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    found = agreement(noisy(0.1)(base).astype("f4"), base)
    assert found.least_cosine > 0.99
    assert Tolerance().fault(found) is not None


def test_a_record_remembers_why() -> None:
    """What is beyond tolerance is told in words and figures."""
    record, vectors = Record(), np.eye(4, dtype=np.float32)
    standing = record.judge(Standing.VERIFIED, agreement(vectors[::-1], vectors), Tolerance())
    assert standing is Standing.QUARANTINED
    assert record.fault == "cosine 0.0000 is under 0.99"
