"""How alike two sets of vectors are, and what a record makes of that."""

import numpy as np
import pytest

from router.routing.targets import Standing
from router.routing.verification import Record, Tolerance
from router.vectors.agreement import agreement
from tests.support.changed_vectors import DIMENSIONS, noisy


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
