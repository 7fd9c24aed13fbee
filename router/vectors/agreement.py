"""How far one deployment's vectors of known texts agree with another's."""

from dataclasses import dataclass

import numpy as np

from router.domain.types import Float32Array


@dataclass(frozen=True, slots=True)
class Agreement:
    """The worst cosine of a text with itself, the agreement of rankings, the worst norm error."""

    least_cosine: float
    rank_agreement: float
    norm_error: float


def agreement(vectors: Float32Array, reference: Float32Array) -> Agreement:
    """Compare (n, d) float32 with (n, d) float32 of the same texts.

    Vectors of another shape, or with NaN, agree in nothing: cosine -1. The ranking is the order of
    all pairs of texts by their likeness; its agreement is Spearman's rank correlation.
    """
    if vectors.shape != reference.shape or not bool(np.isfinite(vectors).all()):
        return Agreement(-1.0, -1.0, float("inf"))
    lengths = np.linalg.norm(vectors, axis=1)
    if not bool((lengths > 0).all()):
        return Agreement(-1.0, -1.0, 1.0)
    unit = vectors / lengths[:, None]
    known = reference / np.linalg.norm(reference, axis=1)[:, None]
    return Agreement(
        least_cosine=float(np.einsum("ij,ij->i", unit, known).min()),
        rank_agreement=_rank_agreement(unit @ unit.T, known @ known.T),
        norm_error=float(np.abs(lengths - 1.0).max()),
    )


def _rank_agreement(left: Float32Array, right: Float32Array) -> float:
    pairs = np.triu_indices(len(left), k=1)
    if len(pairs[0]) < 2:
        return 1.0
    ranks = [np.argsort(np.argsort(one[pairs])) for one in (left, right)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
