"""A request's tensors are checked and cut into sequences, or refused with counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faults import BadRequestError
from model_card import ModelCard, read_model_card
from requests_codec import decode_ids, decode_texts
from text_tokenizer import TextTokenizer


def int32(values: list[list[int]]) -> np.ndarray:
    return np.array(values, dtype=np.int32)


@pytest.fixture(scope="module")
def card(minilm: Path) -> ModelCard:
    return read_model_card(minilm)


@pytest.mark.parametrize(
    ("ids", "lengths", "expected"),
    [
        ([[5, 6, 7]], [[1, 2]], [[5], [6, 7]]),
        ([[5, 6], [7, 8]], [[2], [2]], [[5, 6], [7, 8]]),
        ([[5, 6], [7, 8]], [[1, 1], [1, 1]], [[5], [6], [7], [8]]),
    ],
    ids=["packed", "rows", "packed rows"],
)
def test_ids_are_cut_by_lengths(
    card: ModelCard, ids: list[list[int]], lengths: list[list[int]], expected: list[list[int]]
) -> None:
    """Packed ids become the sequences that LENGTHS says, row by row."""
    assert [s.tolist() for s in decode_ids(int32(ids), int32(lengths), card)] == expected


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ([[1, 2]], [[]], "LENGTHS is empty"),
        ([[1, 2]], [[2, 0]], "sequence 2 of 2 has 0 tokens"),
        ([[1, 2]], [[-1, 3]], "sequence 1 of 2 has -1 tokens"),
        ([[1, 2]], [[3]], "add up to 3 tokens, and INPUT_IDS holds 2"),
        ([[1, 2], [3, 4]], [[3], [1]], "add up to 4 tokens, and INPUT_IDS holds 4"),
        ([[1] * 257], [[257]], "has 257 tokens: the model takes at most 256"),
        ([[1, 30522]], [[2]], "has 1 token ids outside the vocabulary of 30522"),
        ([[-1, 5]], [[2]], "has 1 token ids outside"),
        ([[1], [1]], [[2]], "must agree"),
        ([[1, 2]], [[2**31 - 1, 2**31 - 1]], "has 2147483647 tokens"),
    ],
    ids=[
        "no lengths",
        "zero",
        "negative",
        "sum",
        "sum by row",
        "too long",
        "id too high",
        "negative id",
        "rows differ",
        "huge",
    ],
)
def test_bad_ids_are_refused(
    card: ModelCard, ids: list[list[int]], lengths: list[list[int]], message: str
) -> None:
    """Ids and lengths that do not fit each other or the model are refused with counts."""
    with pytest.raises(BadRequestError, match=message):
        decode_ids(int32(ids), int32(lengths), card)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "TEXT is empty"),
        ([b"secret", b""], "text 2 of 2 is empty"),
        ([b"secret \xff"], "text 1 of 1 is not valid UTF-8"),
        ([b"secret " * 300], "text 1 of 1 has 302 tokens, and the model takes at most 256"),
    ],
    ids=["none", "empty", "not UTF-8", "too long"],
)
def test_bad_texts_are_refused_without_quoting(
    card: ModelCard, texts: list[bytes], message: str
) -> None:
    """A refusal counts and never quotes the text."""
    with pytest.raises(BadRequestError, match=message) as error:
        decode_texts(np.array([texts], dtype=object), card, TextTokenizer(card))
    assert "secret" not in str(error.value)


def test_ids_above_the_model_s_rows_are_refused_in_text(card: ModelCard) -> None:
    """A text whose tokens the model has no rows for is refused, not run."""
    small = replace(card, vocab_size=200)
    with pytest.raises(BadRequestError, match="outside the vocabulary of 200"):
        decode_texts(np.array([[b"hello"]], dtype=object), small, TextTokenizer(card))
