"""Requests are checked, cut into micro-batches, and succeed or fail alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packing import cut_by_tokens
from faults import BadRequestError, EngineError, RequestCancelledError
from jobs import Job, run_jobs
from model_card import ModelCard, read_model_card
from requests_codec import decode_ids, decode_texts
from text_tokenizer import TextTokenizer

DIMENSIONS = 2


def int32(values: list[list[int]]) -> np.ndarray:
    return np.array(values, dtype=np.int32)


@pytest.fixture(scope="module")
def card(minilm: Path) -> ModelCard:
    return read_model_card(minilm)


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_micro_batches_stay_within_the_budget(lengths: list[int], budget: int) -> None:
    """Every place is in one micro-batch; only a single sequence may exceed the budget."""
    batches = list(cut_by_tokens(lengths, budget))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= budget


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


class FakeEngine:
    """Answers (first id, length), notes its micro-batches, fails on one id."""

    def __init__(self, fails_on: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self._fails_on = fails_on

    def embed(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append([len(ids) for ids in sequences])
        if any(ids[0] == self._fails_on for ids in sequences):
            raise RuntimeError("out of memory\nC++ stack")
        return np.array([[ids[0], len(ids)] for ids in sequences], np.float32)


def a_job(*lengths: int, first: int = 1, cancelled_at: int | None = None) -> Job:
    polls = iter(range(1000))
    sequences = [np.full(length, first + n, np.int32) for n, length in enumerate(lengths)]
    return Job(sequences, (1, len(lengths)), lambda: next(polls) == cancelled_at)


def test_vectors_come_back_in_order() -> None:
    """Each job gets its own rows in its own order and shape, however batches were cut."""
    jobs = [a_job(3, 1, 2, first=10), a_job(5, first=20)]
    run_jobs(jobs, FakeEngine().embed, 6)
    assert jobs[0].vectors().tolist() == [[[10, 3], [11, 1], [12, 2]]]
    assert jobs[1].vectors().tolist() == [[[20, 5]]]


def test_an_engine_failure_fails_its_micro_batch_alone() -> None:
    """Jobs of other micro-batches are answered, and the message has one line."""
    failing, sound = a_job(8, first=66), a_job(2, first=1)
    run_jobs([failing, sound], FakeEngine(fails_on=66).embed, 8)
    assert sound.vectors().shape == (1, 1, DIMENSIONS)
    with pytest.raises(EngineError, match=r"1 sequences: RuntimeError: out of memory$"):
        failing.vectors()


def test_a_cancelled_job_is_not_run() -> None:
    """A job cancelled before it runs costs nothing, and its batch mates are answered."""
    engine, cancelled, sound = FakeEngine(), a_job(4, cancelled_at=0), a_job(3)
    run_jobs([cancelled, sound], engine.embed, 100)
    assert engine.batches == [[3]]
    assert sound.vectors().shape == (1, 1, DIMENSIONS)
    with pytest.raises(RequestCancelledError):
        cancelled.vectors()


def test_a_job_cancelled_between_micro_batches_stops() -> None:
    """Of a job cancelled while it runs the sequences that wait are dropped."""
    engine, job = FakeEngine(), a_job(4, 4, 4, 4, cancelled_at=2)
    run_jobs([job], engine.embed, 4)
    assert engine.batches == [[4], [4]]
    with pytest.raises(RequestCancelledError):
        job.vectors()
