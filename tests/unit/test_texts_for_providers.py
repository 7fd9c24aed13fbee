"""What a target is sent that tokenises by itself: text that gives exactly the router's ids."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.domain.errors import InvalidInputError
from router.domain.types import EmbeddingRequest, Space, TokenBatch
from router.text.encode import encode_request
from router.text.tokenizer import HuggingFaceTokenizer

SPACE = Space("s", "m", 8, 16)
PROMPTED = Space(
    "s", "m", 8, 64, prompts={"query": "{instruction}: {text}"}, default_instruction="Find"
)
COHERE = Space("s", "m", 8, 64, provider_input_types={"query": "search_query", "document": "doc"})


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.load(minilm, "m", None)


def encoded(space: Space, tokenizer: HuggingFaceTokenizer, **fields: object) -> TokenBatch:
    request = EmbeddingRequest("m", 0.0, **fields)  # type: ignore[arg-type]
    return encode_request(space, tokenizer, request, with_texts=True)


def test_a_text_goes_with_its_prompt(tokenizer: HuggingFaceTokenizer) -> None:
    """The provider sees what the model sees."""
    batch = encoded(PROMPTED, tokenizer, texts=["a cat"], input_type="query")
    assert batch.texts == ("Find: a cat",)


def test_ids_go_as_the_text_that_they_stand_for(tokenizer: HuggingFaceTokenizer) -> None:
    """With or without special tokens."""
    ids = tokenizer.encode(["a quiet harbour"])[0]
    assert encoded(SPACE, tokenizer, token_ids=[ids]).texts == ("a quiet harbour",)
    assert encoded(SPACE, tokenizer, token_ids=[ids[1:-1]]).texts == ("a quiet harbour",)


def test_ids_that_are_no_texts_own_have_none(tokenizer: HuggingFaceTokenizer) -> None:
    """No text is tokenised to them, so no provider can be asked for their vector."""
    suffix = tokenizer.encode(["unaffable"])[0][2:3]
    assert encoded(SPACE, tokenizer, token_ids=[suffix]).texts is None


def test_what_was_cut_goes_as_it_was_cut(tokenizer: HuggingFaceTokenizer) -> None:
    """The provider does not get what the router took away."""
    words = " ".join(f"word{number}" for number in range(30))
    batch = encoded(SPACE, tokenizer, texts=[words], truncate=True)
    assert batch.total == 16
    assert batch.texts is None or tokenizer.encode(list(batch.texts))[0] == batch.ids.tolist()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.integers(1000, 30_521), min_size=1, max_size=12))
def test_a_text_for_ids_always_gives_those_ids(
    tokenizer: HuggingFaceTokenizer, ids: list[int]
) -> None:
    """Or there is none."""
    batch = encoded(SPACE, tokenizer, token_ids=[ids])
    if batch.texts is not None:
        assert tokenizer.encode(list(batch.texts))[0] == batch.ids.tolist()


def test_texts_are_left_out_where_no_target_needs_them(tokenizer: HuggingFaceTokenizer) -> None:
    """Ids are enough for Triton."""
    request = EmbeddingRequest("m", 0.0, texts=["a"])
    assert encode_request(SPACE, tokenizer, request).texts is None


@pytest.mark.parametrize(
    ("fields", "word"),
    [({}, "doc"), ({"input_type": "query"}, "search_query"), ({"input_type": "document"}, "doc")],
)
def test_a_provider_that_prompts_by_itself_is_told_the_type(
    tokenizer: HuggingFaceTokenizer, fields: dict[str, str], word: str
) -> None:
    """In its own word, and a text without a type is a document."""
    batch = encoded(COHERE, tokenizer, texts=["a"], **fields)
    assert (batch.input_type, batch.texts) == (word, ("a",))


def test_a_type_that_the_provider_does_not_know_is_refused(
    tokenizer: HuggingFaceTokenizer,
) -> None:
    """Rather than embedded as something else."""
    with pytest.raises(InvalidInputError, match="document, query"):
        encoded(COHERE, tokenizer, texts=["a"], input_type="clustering")
