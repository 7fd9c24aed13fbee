"""All doors in front of the real model: the same text has one vector, whichever way it goes."""

from collections.abc import Callable
from contextlib import closing

import numpy as np
import openai
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from tokenizers import Tokenizer

from router.domain.types import Float32Array
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import KEY
from tests.support.tensors import text_inputs
from tests.support.wire import AUTHORIZATION, embed, vectors

TEXTS = [
    "The capital of Japan is Tokyo.",
    "東京は日本の首都です。",
    "a",
    "Bananas are rich in potassium. " * 20,
]


def _openai(router: RouterUnderTest, texts: list[str]) -> Float32Array:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key=KEY, max_retries=0) as client:
        data = client.embeddings.create(model="minilm", input=texts).data
    return np.array([item.embedding for item in data], np.float32)


def _openai_floats(router: RouterUnderTest, texts: list[str]) -> Float32Array:
    return np.array(vectors(embed(router, model="minilm", input=texts)), np.float32)


def _unpacked(router: RouterUnderTest, texts: list[str]) -> Float32Array:
    return np.array(vectors(embed(router, model="unpacked", input=texts)), np.float32)


def _one_by_one(router: RouterUnderTest, texts: list[str]) -> Float32Array:
    return np.concatenate([_openai_floats(router, [text]) for text in texts])


def _kserve_http(router: RouterUnderTest, texts: list[str]) -> Float32Array:
    with closing(http_client.InferenceServerClient(router.host)) as client:
        inputs = text_inputs(http_client, texts, (1, len(texts)))
        result = client.infer("minilm", inputs, headers={**AUTHORIZATION})
        return result.as_numpy("EMBEDDING")[0]


def _kserve_grpc(router: RouterUnderTest, texts: list[str]) -> Float32Array:
    with grpc_client.InferenceServerClient(router.grpc_host) as client:
        inputs = text_inputs(grpc_client, texts, (1, len(texts)))
        result = client.infer("minilm", inputs, headers={**AUTHORIZATION})
        return result.as_numpy("EMBEDDING")[0]


DOORS = [_openai, _unpacked, _one_by_one, _kserve_http, _kserve_grpc]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__.strip("_"))
def test_every_door_gives_the_same_vectors(
    triton_router: RouterUnderTest, door: Callable[[RouterUnderTest, list[str]], Float32Array]
) -> None:
    """The vectors are those of the OpenAI door to a millionth, at unit length."""
    expected = _openai_floats(triton_router, TEXTS)
    got = door(triton_router, TEXTS)
    assert got.shape == (4, 384)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_ids_are_as_good_as_text(triton_router: RouterUnderTest, minilm: object) -> None:
    """A text's own ids, with special tokens or without, have the text's vector."""
    tokenizer = Tokenizer.from_file(f"{minilm}/tokenizer.json")
    tokenizer.no_padding()
    for special in (True, False):
        ids = [tokenizer.encode(text, add_special_tokens=special).ids for text in TEXTS[:3]]
        got = np.array(vectors(embed(triton_router, model="minilm", input=ids)), np.float32)
        np.testing.assert_allclose(got, _openai_floats(triton_router, TEXTS[:3]), atol=1e-6)


def test_the_vectors_mean_something(triton_router: RouterUnderTest) -> None:
    """A question is nearer to its answer than to a sentence about fruit."""
    texts = ["What is Japan's capital?", TEXTS[0], "Bananas are rich in potassium."]
    question, answer, other = _openai_floats(triton_router, texts)
    assert question @ answer > question @ other + 0.4


def test_truncation_equals_cutting_by_hand(triton_router: RouterUnderTest) -> None:
    """A text over the model's limit, cut by `truncate`, has the vector of its first 254 tokens."""
    cut = embed(triton_router, model="minilm", input="word " * 1000, truncate=True)
    by_hand = embed(triton_router, model="minilm", input="word " * 254)
    assert cut.json["usage"]["prompt_tokens"] == 256
    np.testing.assert_allclose(vectors(cut), vectors(by_hand), atol=1e-6)
