"""The output contract: N in, N out, finite, unit length, of the space's dimension."""

import numpy as np

from router.domain.errors import UpstreamContractError
from router.domain.types import Float32Array, TokenBatch

# Squared length of a float32 vector normalised in float32 is within 1e-6 of one; a server that
# normalises in bfloat16 is off by up to 1e-2. Anything beyond was not normalised at all.
UNIT_TOLERANCE = 2e-2


def require_contract(vectors: Float32Array, count: int, dimensions: int) -> None:
    """Raise UpstreamContractError unless `vectors` is (count, dimensions), finite, unit length."""
    if vectors.shape != (count, dimensions):
        raise UpstreamContractError(
            f"the target answered {_shape(vectors)} where {count}x{dimensions} was asked for"
        )
    squares = np.einsum("ij,ij->i", vectors, vectors)
    # Written so that NaN fails too: every comparison with it is false.
    if not bool((np.abs(squares - 1.0) <= UNIT_TOLERANCE).all()):
        raise UpstreamContractError("the target answered a vector that is not of unit length")


def require_distinct(vectors: Float32Array, batch: TokenBatch) -> None:
    """Raise UpstreamContractError where different sequences have the very same vector (d,).

    One vector for several inputs is what a server gives that joins its inputs, cuts them all to
    the same few tokens, or writes one row twice; a model does not.
    """
    if len(vectors) < 2:
        return
    # Rows that differ nearly always differ in their first two numbers: one look at 8 bytes each.
    heads = np.ascontiguousarray(vectors[:, :2]).view(np.uint64).ravel()
    if len(np.unique(heads)) == len(heads):
        return
    ends = np.cumsum(batch.lengths)
    first: dict[bytes, bytes] = {}
    for row, length, end in zip(vectors, batch.lengths, ends, strict=True):
        ids = batch.ids[end - length : end].tobytes()
        if first.setdefault(row.tobytes(), ids) != ids:
            raise UpstreamContractError("the target answered one vector to different inputs")


def _shape(vectors: Float32Array) -> str:
    return "x".join(str(size) for size in vectors.shape)
