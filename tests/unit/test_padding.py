"""Padded batches: everything once, nothing too large, and never dearer than need be."""

import itertools
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.types import TokenBatch
from router.upstreams.padding import Profile, pad, plan_batches

PUBLISHED = (Profile(32, 128), Profile(8, 1024), Profile(1, 8192))
CALL_TOKENS = 300


@st.composite
def ladders(draw: st.DrawFn) -> list[Profile]:
    """One to four profiles, each longer than the last and with no more rows."""
    count = draw(st.integers(1, 4))
    tokens = draw(st.lists(st.integers(1, 500), min_size=count, max_size=count, unique=True))
    rows = draw(st.lists(st.integers(1, 6), min_size=count, max_size=count))
    shapes = zip(sorted(rows, reverse=True), sorted(tokens), strict=True)
    return [Profile(most, length) for most, length in shapes]


@st.composite
def problems(draw: st.DrawFn, largest: int = 60) -> tuple[list[int], list[Profile]]:
    """Lengths that the profiles take."""
    profiles = draw(ladders())
    length = st.integers(1, profiles[-1].tokens)
    return draw(st.lists(length, min_size=1, max_size=largest)), profiles


def takes(profiles: list[Profile], lengths: list[int]) -> bool:
    """Whether a batch of these lengths fits the narrowest profile that is long enough."""
    profile = next(profile for profile in profiles if max(lengths) <= profile.tokens)
    return len(lengths) <= profile.rows


def cost(batches: list[list[int]]) -> int:
    return sum(len(batch) * max(batch) + CALL_TOKENS for batch in batches)


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Every way to put the items into batches."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for count in range(len(rest) + 1):
        for others in itertools.combinations(range(len(rest)), count):
            batch = [first, *(rest[place] for place in others)]
            left = [item for place, item in enumerate(rest) if place not in others]
            for batches in partitions(left):
                yield [batch, *batches]


@given(problems())
def test_each_sequence_goes_once_and_every_batch_fits(
    problem: tuple[list[int], list[Profile]],
) -> None:
    """No place is lost or doubled, and no batch is one that the target would refuse."""
    lengths, profiles = problem
    batches = plan_batches(lengths, profiles)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(takes(profiles, [lengths[place] for place in batch]) for batch in batches)


@given(problems(largest=6))
def test_no_other_plan_is_cheaper(problem: tuple[list[int], list[Profile]]) -> None:
    """Against every partition there is, interleaved ones included."""
    lengths, profiles = problem
    ours = [[lengths[place] for place in batch] for batch in plan_batches(lengths, profiles)]
    fitting = (
        batches
        for batches in partitions(lengths)
        if all(takes(profiles, batch) for batch in batches)
    )
    assert cost(ours) == min(cost(batches) for batches in fitting)


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        pytest.param([5], [[0]], id="one"),
        pytest.param([9, 5, 7], [[1, 2, 0]], id="short ones share, whatever they pad"),
        pytest.param([10, 1000], [[1], [0]], id="a long one is not worth its padding"),
        pytest.param([1000, 990, 1010], [[1, 0, 2]], id="long ones of one length share"),
        pytest.param([8192, 3000, 8], [[0], [1], [2]], id="the longest go alone"),
    ],
)
def test_what_shares_a_batch(lengths: list[int], batches: list[list[int]]) -> None:
    """Padding is weighed against a further call."""
    assert plan_batches(lengths, PUBLISHED) == batches


def test_a_profile_is_filled() -> None:
    """Sixty-four equal short sequences are two full batches."""
    assert [len(batch) for batch in plan_batches([128] * 64, PUBLISHED)] == [32, 32]


def test_the_largest_request_is_planned_quickly() -> None:
    """Two thousand sequences take less than a tenth of a second of a slow core's time."""
    lengths = np.random.default_rng(2).integers(1, 128, 2048).tolist()
    taken_s = []
    for _ in range(7):
        # Of this thread, and the least: others on the machine, and its host, only add to it.
        started_s = time.thread_time()
        plan_batches(lengths, PUBLISHED)
        taken_s.append(time.thread_time() - started_s)
    assert min(taken_s) < 0.1


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1), st.data())
def test_a_padded_batch_holds_the_sequences(
    sequences: list[list[int]], data: st.DataObject
) -> None:
    """Each row is its sequence, then padding, no wider than the longest."""
    batch = TokenBatch(
        ids=np.array([token for ids in sequences for token in ids], np.int32),
        lengths=np.array([len(ids) for ids in sequences], np.int32),
    )
    places = data.draw(st.lists(st.sampled_from(range(len(sequences))), min_size=1, unique=True))
    ids, lengths = pad(batch, places)
    assert (ids.dtype, lengths.dtype) == (np.int32, np.int32)
    assert ids.shape == (len(places), max(len(sequences[place]) for place in places))
    for row, place, length in zip(ids.tolist(), places, lengths.tolist(), strict=True):
        assert row[:length] == sequences[place]
        assert set(row[length:]) <= {0}
