"""A router in front of a padded target: its callers notice nothing of the padding."""

from collections.abc import Iterator

import numpy as np
import pytest
import yaml
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from router.domain.keys import fingerprint
from tests.support.padded_triton import PADDED_NAME, PROFILES, PaddedTriton
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, server
from tests.support.wire import embed, vectors
from tests.tensorrt.models import LIKE_MINILM

TEXTS = ["hello", "import numpy", "é" * 60, "x", "東京 🗼", "a b c " * 40, "the quick brown fox"]


def settings(triton: PaddedTriton) -> str:
    space = {
        "model": "Qwen/Qwen3-Embedding",
        "dimensions": LIKE_MINILM.hidden,
        "matryoshka": [32, LIKE_MINILM.hidden],
        "max_tokens": PROFILES[-1].tokens,
        "tokenizer": str(triton.weights),
    }
    target = {
        "space": "qwen3",
        "upstream": "triton",
        "url": triton.url,
        "model": PADDED_NAME,
        "padded_profiles": [[profile.rows, profile.tokens] for profile in PROFILES],
    }
    sections = {
        "server": server(),
        "spaces": {"qwen3": space},
        "targets": {"engine": target},
        "routes": {"plain": {"targets": ["engine"]}},
        "tenants": {"testers": {"keys": [{"name": "key", "sha256": fingerprint(KEY)}]}},
    }
    return yaml.safe_dump(sections)


@pytest.fixture(scope="module")
def router(padded_triton: PaddedTriton) -> Iterator[RouterUnderTest]:
    with RouterUnderTest(settings(padded_triton)) as running:
        eventually(running.app.is_ready)
        yield running


@pytest.fixture(scope="module")
def reference(padded_triton: PaddedTriton) -> SentenceTransformer:
    modules = [
        Transformer(str(padded_triton.weights)),
        Pooling(LIKE_MINILM.hidden, "lasttoken"),
        Normalize(),
    ]
    return SentenceTransformer(modules=modules, device="cpu")


def test_vectors_equal_sentence_transformers(
    router: RouterUnderTest, reference: SentenceTransformer
) -> None:
    """Mixed lengths in one request, over both profiles, in order."""
    ours = vectors(embed(router, input=TEXTS))
    assert (ours * reference.encode(TEXTS)).sum(axis=1).min() >= 0.9999


def test_matryoshka_is_sliced_as_from_any_target(
    router: RouterUnderTest, reference: SentenceTransformer
) -> None:
    """The engine gives the full width, the router the asked one."""
    ours = vectors(embed(router, input=TEXTS, dimensions=64))
    expected = reference.encode(TEXTS)[:, :64]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (ours * expected).sum(axis=1).min() >= 0.9999


def test_what_the_engine_does_not_take_is_the_callers_error(router: RouterUnderTest) -> None:
    """The space promises no more than the longest profile, so 400 comes before any call."""
    answer = embed(router, input=["x", "y" * 300])
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"


def test_truncation_keeps_to_the_longest_profile(
    router: RouterUnderTest, reference: SentenceTransformer
) -> None:
    """Asked to, the router cuts before the terminal token and the engine takes the rest."""
    answer = embed(router, input=["y" * 300], truncate=True)
    expected = reference.encode(["y" * (PROFILES[-1].tokens - 1)])
    assert float(vectors(answer)[0] @ expected[0]) >= 0.9999
