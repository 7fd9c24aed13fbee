"""What two spaces find for the same queries: exact rankings, and how far they agree."""

import numpy as np
import pytest

from router.vectors.overlap import TopK, overlap


def unit(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    rows = rng.standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ranking(queries: np.ndarray, documents: np.ndarray, k: int, batch: int) -> np.ndarray:
    top = TopK(queries, k)
    for start in range(0, len(documents), batch):
        top.add(documents[start : start + batch])
    return top.ranking


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_batches_find_what_the_whole_finds(batch: int) -> None:
    """The ranking is that of all scores sorted at once, whatever comes together."""
    rng = np.random.default_rng(1)
    queries, documents = unit(rng, 9, 16), unit(rng, 300, 16)
    whole = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    assert (ranking(queries, documents, 10, batch) == whole).all()


def test_ties_go_to_the_earlier() -> None:
    """Documents as near as each other stand in the order in which they came."""
    rng = np.random.default_rng(2)
    document = unit(rng, 1, 8)
    assert ranking(document, np.repeat(document, 6, axis=0), 4, 2).tolist() == [[0, 1, 2, 3]]


def test_the_same_space_turned_agrees_in_everything() -> None:
    """A rotation changes every vector and no neighbour: both figures are 1."""
    rng = np.random.default_rng(3)
    queries, documents = unit(rng, 20, 32), unit(rng, 500, 32)
    turn = np.linalg.qr(rng.standard_normal((32, 32)))[0].astype(np.float32)
    left, right = (
        ranking(queries @ one, documents @ one, 10, 64) for one in (np.eye(32, dtype="f4"), turn)
    )
    found = overlap(left, right, len(documents))
    assert found.mean == 1.0
    assert found.rank_agreement == pytest.approx(1.0, abs=0.01)


def test_strangers_agree_by_chance() -> None:
    """Rankings that know nothing of each other share k of n."""
    rng = np.random.default_rng(4)
    left, right = (ranking(unit(rng, 400, 64), unit(rng, 500, 64), 10, 100) for _ in range(2))
    found = overlap(left, right, 500)
    assert found.by_chance == 0.02
    assert found.mean == pytest.approx(0.02, abs=0.01)


def test_figures_of_a_small_case() -> None:
    """By hand: half found by both; agreement 0, 1/2, 1/3, 2/4 at depths 1 to 4."""
    left, right = np.array([[0, 1, 2, 3], [0, 1, 2, 3]]), np.array([[1, 9, 8, 3], [0, 1, 2, 3]])
    found = overlap(left, right, 100)
    assert found.recall.tolist() == [0.5, 1.0]
    assert found.rank_agreement == pytest.approx(((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4 + 1) / 2)
    assert found.worst(1) == [(0, 0.5)]
    assert found.low == pytest.approx(0.55)


def test_order_counts_for_the_agreement_alone() -> None:
    """The same documents backwards: recall 1, a lower agreement of ranks."""
    left = np.arange(10)[None, :]
    found = overlap(left, left[:, ::-1], 100)
    assert found.mean == 1.0
    assert 0.2 < found.rank_agreement < 0.5
