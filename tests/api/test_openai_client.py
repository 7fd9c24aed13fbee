"""The unmodified OpenAI client, in both its forms."""

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from tokenizers import Tokenizer

from router.domain.errors import EmbedwayError, UpstreamContractError, UpstreamUnavailableError
from router.upstreams.fake import FakeUpstream
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import KEY

TEXTS = ["The quick brown fox", "ein zweiter Satz, länger als der erste", "東京 🗼"]


@pytest.fixture
def client(router: RouterUnderTest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key=KEY, max_retries=0) as one:
        yield one


@pytest.fixture
async def async_client(router: RouterUnderTest) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=KEY, max_retries=0) as one:
        yield one


@pytest.fixture(scope="session")
def tokenizer(minilm: Path) -> Tokenizer:
    """The library itself, as a reference for ids and counts."""
    one = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    one.no_truncation()
    one.no_padding()
    return one


def vector(ids: list[int], dimensions: int = 384) -> np.ndarray:
    """What the fake target answers for these ids."""
    return FakeUpstream(dimensions)._vector(np.array(ids, np.int32).tobytes())


INPUTS: dict[str, Callable[[Tokenizer], Any]] = {
    "string": lambda _: TEXTS[0],
    "list of strings": lambda _: TEXTS,
    "token ids": lambda tokenizer: tokenizer.encode(TEXTS[0]).ids,
    "list of token ids": lambda tokenizer: [tokenizer.encode(text).ids for text in TEXTS],
    "token ids without special tokens": lambda tokenizer: (
        tokenizer.encode(TEXTS[0], add_special_tokens=False).ids
    ),
    "a text of white space": lambda _: " ",
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_every_kind_of_input(
    client: openai.OpenAI, tokenizer: Tokenizer, kind: str, encoding: Any
) -> None:
    """Every kind of input in every encoding gives the same vectors and exact counts."""
    given = INPUTS[kind](tokenizer)
    chosen = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model="plain", input=given, user="u-1", **chosen)
    texts = {"list of strings": TEXTS, "list of token ids": TEXTS, "a text of white space": [" "]}
    ids = [tokenizer.encode(text).ids for text in texts.get(kind, TEXTS[:1])]
    assert answer.object == "list"
    assert answer.model == "plain"
    assert [item.index for item in answer.data] == list(range(len(ids)))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, ids))
    for item, sequence in zip(answer.data, ids, strict=True):
        assert item.object == "embedding"
        assert np.array_equal(_floats(item.embedding), vector(sequence))


def _floats(embedding: Any) -> np.ndarray:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    return np.array(embedding, np.float32)


@pytest.mark.parametrize("dimensions", [32, 100, 255])
def test_shorter_vectors(client: openai.OpenAI, tokenizer: Tokenizer, dimensions: int) -> None:
    """A Matryoshka space gives the first numbers of the whole vector, at unit length again."""
    answer = client.embeddings.create(model="org/wide", input="a", dimensions=dimensions)
    whole = vector(tokenizer.encode("a").ids, 256)[:dimensions]
    given = np.array(answer.data[0].embedding, np.float32)
    assert given.shape == (dimensions,)
    np.testing.assert_allclose(given, whole / np.linalg.norm(whole), atol=1e-6)


@pytest.mark.parametrize(("model", "dimensions"), [("org/wide", 256), ("plain", 384)])
def test_the_full_dimension_by_name(client: openai.OpenAI, model: str, dimensions: int) -> None:
    """Asking for the full dimension is the same as not asking, with Matryoshka or without."""
    asked = client.embeddings.create(model=model, input="a", dimensions=dimensions)
    assert asked.data == client.embeddings.create(model=model, input="a").data


async def test_the_asynchronous_client(
    async_client: openai.AsyncOpenAI, tokenizer: Tokenizer
) -> None:
    """The asynchronous client gets the same vectors."""
    answer = await async_client.embeddings.create(model="plain", input=TEXTS)
    for item, text in zip(answer.data, TEXTS, strict=True):
        expected = vector(tokenizer.encode(text).ids)
        assert np.array_equal(np.array(item.embedding, np.float32), expected)
    assert [model.id async for model in async_client.models.list()] == [
        "plain",
        "org/wide",
        "small",
    ]


def test_models(client: openai.OpenAI) -> None:
    """Models are listed and found by name, also by one with a slash."""
    listed = list(client.models.list())
    assert [model.id for model in listed] == ["plain", "org/wide", "small"]
    for model in listed:
        assert client.models.retrieve(model.id) == model
        assert (model.object, model.owned_by) == ("model", "embedway")


def test_an_unknown_model_is_named_with_those_there_are(client: openai.OpenAI) -> None:
    """Asking for or retrieving a model that is not there names it and all that are."""
    for ask in (
        lambda: client.embeddings.create(model="gpt-9", input="a"),
        lambda: client.models.retrieve("gpt-9"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"
        for name in ("gpt-9", "plain", "org/wide", "small"):
            assert name in caught.value.message


def test_a_wrong_key(router: RouterUnderTest) -> None:
    """The client raises AuthenticationError for a key that nobody was given."""
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="ew-wrong", max_retries=0) as client:
        for ask in (
            client.models.list,
            lambda: client.embeddings.create(model="plain", input="a"),
        ):
            with pytest.raises(openai.AuthenticationError) as caught:
                ask()
            assert caught.value.code == "invalid_api_key"


def test_errors_keep_their_parts(client: openai.OpenAI) -> None:
    """The client finds message, type, param and code where OpenAI has them."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="plain", input="a", dimensions=8)
    error = caught.value
    assert (error.code, error.param) == ("invalid_dimensions", "dimensions")
    assert error.type == "invalid_request_error"
    assert error.request_id is not None


@pytest.mark.parametrize(
    ("failure", "status"),
    [(UpstreamUnavailableError("down"), 503), (UpstreamContractError("odd"), 502)],
    ids=["unavailable", "contract"],
)
def test_failures_of_a_target(
    client: openai.OpenAI, router: RouterUnderTest, failure: EmbedwayError, status: int
) -> None:
    """The client raises InternalServerError with the status, which it would retry by default."""
    router.fake("plain-target").fail_with = failure
    with pytest.raises(openai.InternalServerError) as caught:
        client.embeddings.create(model="plain", input="a")
    assert caught.value.status_code == status


def test_the_client_retries_by_itself(router: RouterUnderTest) -> None:
    """A client with its default of two retries sees nothing of a target that is down briefly."""
    fake = router.fake("plain-target")
    attempts = iter([UpstreamUnavailableError("down"), None])

    class Recovering(FakeUpstream):
        async def embed(self, batch: Any, timeout_s: float, call: Any = None) -> Any:
            self.fail_with = next(attempts)
            return await super().embed(batch, timeout_s, call)

    router.replace("plain-target", Recovering(fake.dimensions))
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key=KEY) as client:
        assert len(client.embeddings.create(model="plain", input="a").data) == 1
    assert next(attempts, "spent") == "spent"
