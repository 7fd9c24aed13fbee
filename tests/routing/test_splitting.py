"""Cutting to limits and joining again loses nothing and moves nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.errors import UpstreamContractError
from router.domain.types import TokenBatch
from router.routing.splitting import Part, chosen, halves, joined, split

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=60)
LIMIT = st.none() | st.integers(1, 120)


def batch(lengths: list[int]) -> TokenBatch:
    return TokenBatch(
        ids=np.arange(sum(lengths), dtype=np.int32),
        lengths=np.array(lengths, np.int32),
        texts=tuple(f"text {place}" for place in range(len(lengths))),
        input_type="query",
    )


def answer(part: Part) -> np.ndarray:
    """A row for each sequence that tells which one it is."""
    return np.array([[int(text.split()[1])] for text in part.batch.texts or ()], np.float32)


@given(lengths=LENGTHS, max_inputs=LIMIT, max_tokens=LIMIT)
def test_parts_are_the_whole_in_order(
    lengths: list[int], max_inputs: int | None, max_tokens: int | None
) -> None:
    """Ids, lengths and texts of the parts, end to end, are those of the batch."""
    whole = batch(lengths)
    parts = split(whole, max_inputs, max_tokens)
    assert np.concatenate([part.batch.ids for part in parts]).tolist() == whole.ids.tolist()
    assert np.concatenate([part.batch.lengths for part in parts]).tolist() == lengths
    assert sum((part.batch.texts or () for part in parts), ()) == whole.texts
    assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert {part.batch.input_type for part in parts} == {"query"}


@given(lengths=LENGTHS, max_inputs=LIMIT, max_tokens=LIMIT)
def test_no_part_is_over_a_limit(
    lengths: list[int], max_inputs: int | None, max_tokens: int | None
) -> None:
    """But for a sequence that is longer by itself, which stands alone."""
    for part in split(batch(lengths), max_inputs, max_tokens):
        assert max_inputs is None or part.batch.count <= max_inputs
        assert max_tokens is None or part.batch.total <= max_tokens or part.batch.count == 1


@given(lengths=LENGTHS, max_inputs=LIMIT, max_tokens=LIMIT)
def test_no_two_neighbours_would_fit_together(
    lengths: list[int], max_inputs: int | None, max_tokens: int | None
) -> None:
    """There are no more calls than the limits need of a greedy cut."""
    parts = split(batch(lengths), max_inputs, max_tokens)
    for left, right in itertools.pairwise(parts):
        first = int(right.batch.lengths[0])
        full = max_inputs is not None and left.batch.count == max_inputs
        assert full or (max_tokens is not None and left.batch.total + first > max_tokens)


@given(lengths=LENGTHS, max_inputs=st.integers(1, 9), order=st.randoms())
def test_answers_are_joined_in_the_order_of_the_inputs(
    lengths: list[int], max_inputs: int, order: object
) -> None:
    """Whichever part came home first."""
    parts = split(batch(lengths), max_inputs, None)
    order.shuffle(parts)  # type: ignore[attr-defined]
    vectors = joined([(part.start, answer(part)) for part in parts], len(lengths))
    assert vectors[:, 0].tolist() == list(range(len(lengths)))


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=40))
def test_halves_are_the_part(lengths: list[int]) -> None:
    """Neither is empty, nothing is lost, places stay those of the whole."""
    left, right = halves(Part(7, batch(lengths)))
    assert (left.start, left.end, right.start, right.end) == (
        7,
        right.start,
        left.end,
        7 + len(lengths),
    )
    assert left.batch.count >= 1
    assert right.batch.count >= 1
    assert [*left.batch.ids, *right.batch.ids] == list(range(sum(lengths)))


@given(lengths=LENGTHS, data=st.data())
def test_chosen_sequences_are_those_asked_for(lengths: list[int], data: st.DataObject) -> None:
    """Each with its own ids and text."""
    whole = batch(lengths)
    places = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, unique=True))
    some = chosen(whole, places)
    starts = np.cumsum([0, *lengths])
    expected = [list(range(starts[place], starts[place] + lengths[place])) for place in places]
    assert some.ids.tolist() == list(itertools.chain.from_iterable(expected))
    assert some.texts == tuple(f"text {place}" for place in places)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda answers: answers[:-1], id="the last part missing"),
        pytest.param(lambda answers: answers[1:], id="the first part missing"),
        pytest.param(lambda answers: [*answers, answers[0]], id="a part twice"),
        pytest.param(lambda answers: [(p, v[:-1]) for p, v in answers], id="a vector missing"),
        pytest.param(lambda answers: [], id="nothing"),
    ],
)
def test_what_is_not_whole_is_refused(change: object) -> None:
    """No vector ever slides to another input's place."""
    parts = split(batch([1] * 10), 3, None)
    answers = [(part.start, answer(part)) for part in parts]
    with pytest.raises(UpstreamContractError):
        joined(change(answers), 10)  # type: ignore[operator]
