"""A small space, and targets whose vectors are not quite, or not at all, those of it."""

from typing import Any

import numpy as np

from router.domain.journal import Call
from router.domain.types import Float32Array, Space, TokenBatch
from router.upstreams.fake import FakeUpstream

DIMENSIONS = 32
SPACE = Space("s", "m", DIMENSIONS, 64)


class Changed(FakeUpstream):
    """Gives the fake's vectors, changed."""

    def __init__(self, change: Any) -> None:
        super().__init__(DIMENSIONS)
        self.change = change

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        vectors = await super().embed(batch, timeout_s, call)
        return np.asarray(self.change(vectors), np.float32)


def rotated(vectors: Float32Array) -> Float32Array:
    """Another model: same lengths and likenesses, other directions."""
    return vectors[:, ::-1]


def noisy(share: float) -> Any:
    """A change by noise of that length, the same one each time."""

    def change(vectors: Float32Array) -> Float32Array:
        noise = np.random.default_rng(3).standard_normal(vectors.shape)
        noise *= share / np.linalg.norm(noise, axis=1, keepdims=True)
        changed = vectors + noise
        return np.asarray(changed / np.linalg.norm(changed, axis=1, keepdims=True))

    return change
