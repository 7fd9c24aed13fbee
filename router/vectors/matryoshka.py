"""Narrower vectors from wide ones: slice, then bring back to unit length (Kusupati et al. 2022)."""

import numpy as np

from router.domain.errors import DimensionError, UpstreamContractError
from router.domain.types import Float32Array, Space


def checked_dimension(space: Space, asked: int | None) -> int:
    """The dimension to answer with; DimensionError where the space cannot give what was asked."""
    if asked is None or asked == space.dimensions:
        return space.dimensions
    if space.matryoshka is None:
        raise DimensionError(
            f"{space.name} was not trained for shorter vectors: it only gives "
            f"{space.dimensions} dimensions, {asked} were asked for",
            param="dimensions",
        )
    low, high = space.matryoshka
    if not low <= asked <= high:
        raise DimensionError(
            f"dimensions must lie between {low} and {high} for {space.name}, not {asked}",
            param="dimensions",
        )
    return asked


def narrow(vectors: Float32Array, dimensions: int) -> Float32Array:
    """Slice (n, d) float32 to (n, dimensions) and renormalise; UpstreamContractError on zeros."""
    if vectors.shape[1] == dimensions:
        return vectors
    cut = vectors[:, :dimensions]
    lengths = np.sqrt(np.einsum("ij,ij->i", cut, cut, dtype=np.float32))
    if not bool((lengths > 0).all()):
        raise UpstreamContractError("the target answered a vector whose first part is all zero")
    return np.ascontiguousarray(cut / lengths[:, None], dtype=np.float32)
