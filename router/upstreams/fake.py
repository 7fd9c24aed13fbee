"""A target without a model: vectors made up from the ids, the same ones for the same ids.

It passes the same contract suite as the real upstreams, and stands in for them in tests and
in trials of a configuration. Its vectors carry no meaning, and never share a space with real ones.
"""

import asyncio
import hashlib

import numpy as np

from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    UpstreamUnavailableError,
)
from router.domain.journal import Call
from router.domain.types import Float32Array, TokenBatch


class FakeUpstream:
    """Answers after `delay_s` seconds; `fail_with`, when set, is raised instead."""

    def __init__(self, dimensions: int, delay_s: float = 0.0) -> None:
        self.dimensions = dimensions
        self.delay_s = delay_s
        self.is_ready = True
        self.fail_with: EmbedwayError | None = None
        self.calls: list[TokenBatch] = []
        self.cancelled = 0
        self._closed = False

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """Vectors (n, dimension) float32, unit length, seeded by each sequence's ids.

        Raises DeadlineExceededError after `timeout_s` seconds, UpstreamUnavailableError when down.
        """
        del call
        if self._closed or not self.is_ready:
            raise UpstreamUnavailableError("the target is starting or down: try again soon")
        self.calls.append(batch)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self.delay_s)
        except TimeoutError as error:
            raise DeadlineExceededError("the target did not answer in time") from error
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fail_with is not None:
            raise self.fail_with
        pieces = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
        return np.stack([self._vector(ids.tobytes()) for ids in pieces])

    async def ready(self) -> bool:
        """Whether `is_ready` is set."""
        return self.is_ready and not self._closed

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _vector(self, seed: bytes) -> Float32Array:
        number = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest())
        vector = np.random.default_rng(number).standard_normal(self.dimensions, dtype=np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
