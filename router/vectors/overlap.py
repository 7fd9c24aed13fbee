"""Whether two spaces find the same: the ranking of documents for a query in one and in the other.

Vectors of two spaces are never compared with each other; what is compared is what each finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.domain.types import Float32Array

Indices = NDArray[np.int64]
_QUERIES_AT_A_TIME = 256


class TopK:
    """The best documents of one space for each query, exact, while documents pass by in batches.

    Holds the queries and k places for each; no document's vector is kept.
    """

    def __init__(self, queries: Float32Array, k: int) -> None:
        """`queries` (q, d) float32 of unit length."""
        self._queries = queries
        self._k = k
        self._seen = 0
        self._scores = np.empty((len(queries), 0), np.float32)
        self._indices: Indices = np.empty((len(queries), 0), np.int64)

    def add(self, documents: Float32Array) -> None:
        """The next documents, (n, d) float32 of unit length."""
        numbers = np.arange(self._seen, self._seen + len(documents), dtype=np.int64)
        self._seen += len(documents)
        scores = np.hstack([self._scores, self._queries @ documents.T])
        indices = np.hstack([self._indices, np.broadcast_to(numbers, (len(scores), len(numbers)))])
        # Stable: of two documents as near as each other the earlier stands first in both spaces.
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self._k]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self._indices = np.take_along_axis(indices, best, axis=1)

    @property
    def ranking(self) -> Indices:
        """Numbers of the documents that were found, (q, k), best first."""
        return self._indices


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far two rankings agree, each figure between 0 and 1.

    `recall` is the part of the k documents that both find, by query; `rank_agreement` is the mean
    of that part over depths 1 to k, so that the first places weigh most; `by_chance` is the recall
    of two rankings that know nothing of each other.
    """

    recall: NDArray[np.float64]
    rank_agreement: float
    by_chance: float

    @property
    def mean(self) -> float:
        """Mean recall of all queries."""
        return float(self.recall.mean())

    @property
    def low(self) -> float:
        """Recall that nine queries of ten reach."""
        return float(np.quantile(self.recall, 0.1))

    def worst(self, count: int) -> Sequence[tuple[int, float]]:
        """Numbers of the queries of least recall, with it."""
        order = np.argsort(self.recall, kind="stable")[:count]
        return [(int(number), float(self.recall[number])) for number in order]


def overlap(left: Indices, right: Indices, documents: int) -> Overlap:
    """Compare two rankings (q, k) of the same documents, of which there are `documents`.

    Source of the rank agreement: average overlap, Webber, Moffat and Zobel, "A similarity measure
    for indefinite rankings", ACM TOIS 28 (2010).
    """
    count, k = left.shape
    shared = np.zeros((count, k), np.int64)
    for start in range(0, count, _QUERIES_AT_A_TIME):
        rows = slice(start, start + _QUERIES_AT_A_TIME)
        query, one, other = np.nonzero(left[rows, :, None] == right[rows, None, :])
        # From the deeper of its two places on a document is found by both.
        np.add.at(shared, (query + start, np.maximum(one, other)), 1)
    agreed = np.cumsum(shared, axis=1) / np.arange(1, k + 1)
    return Overlap(
        recall=agreed[:, -1].astype(np.float64),
        rank_agreement=float(agreed.mean()),
        by_chance=k / documents,
    )
