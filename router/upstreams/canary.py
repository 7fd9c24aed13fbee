"""Sends one known text along with every call, and looks at its vector before any other.

A provider may put another model behind the same name at any moment, and a shifted answer looks
like a right one. The canary's vector tells at once, call by call; the prober would only tell later.
"""

from collections.abc import Callable

import numpy as np

from router.domain.errors import UpstreamSpaceError
from router.domain.journal import Call
from router.domain.ports import Upstream
from router.domain.types import Float32Array, TokenBatch
from router.vectors.checks import require_contract


class CanaryUpstream:
    """An upstream in front of another; calls grow by one short input, which never comes out."""

    def __init__(
        self,
        upstream: Upstream,
        canary: TokenBatch,
        expected: Callable[[], Float32Array | None],
        least_cosine: float,
    ) -> None:
        """`canary` is one sequence; `expected` is its vector (d,), None while nobody knows it."""
        self._upstream = upstream
        self._canary = canary
        self._expected = expected
        self._least_cosine = least_cosine

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """Vectors (n, dimension) float32 of this batch, the canary's left out.

        Raises UpstreamSpaceError where that is another than it should be.
        """
        expected = self._expected()
        # A provider's own prompt changes the vector: it is known for one input type only.
        if expected is None or batch.input_type != self._canary.input_type:
            return await self._upstream.embed(batch, timeout_s, call)
        vectors = await self._upstream.embed(_with(batch, self._canary), timeout_s, call)
        require_contract(vectors, batch.count + 1, len(expected))
        cosine = float(vectors[-1] @ expected)
        if cosine < self._least_cosine:
            raise UpstreamSpaceError("the target answers vectors of another space")
        return vectors[:-1]

    async def ready(self) -> bool:
        """Whether the upstream behind is ready."""
        return await self._upstream.ready()

    async def close(self) -> None:
        """Close the upstream behind."""
        await self._upstream.close()


def _with(batch: TokenBatch, canary: TokenBatch) -> TokenBatch:
    texts = None
    if batch.texts is not None and canary.texts is not None:
        texts = batch.texts + canary.texts
    return TokenBatch(
        ids=np.concatenate([batch.ids, canary.ids]),
        lengths=np.concatenate([batch.lengths, canary.lengths]),
        texts=texts,
        input_type=batch.input_type,
    )
