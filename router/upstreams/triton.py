"""A Triton model that takes sequences packed end to end: the embedding backend's."""

import numpy as np

from router.domain.errors import EmbedwayError, UpstreamContractError
from router.domain.journal import Call
from router.domain.types import Float32Array, TokenBatch
from router.upstreams.triton_channel import TritonChannel

_PROBE_TIMEOUT_S = 5.0


class TritonUpstream:
    """One model on one Triton server."""

    def __init__(self, url: str, model: str) -> None:
        """`url` is grpc://host:port, or grpcs:// for TLS with the system's roots."""
        self._channel = TritonChannel(url, model)

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """Vectors (n, dimension) float32 of the n sequences; a cancelled call is cancelled there.

        Raises the UpstreamError that fits, or DeadlineExceededError.
        """
        inputs = {"INPUT_IDS": batch.ids[np.newaxis], "LENGTHS": batch.lengths[np.newaxis]}
        output = await self._channel.infer(inputs, timeout_s, call)
        if output.ndim != 3 or len(output) != 1:
            raise UpstreamContractError("the target did not answer a tensor [1, n, dimension]")
        vectors: Float32Array = output[0]
        return vectors

    async def ready(self) -> bool:
        """Whether this model is loaded and answers its canaries rightly."""
        if not await self._channel.ready():
            return False
        return not self._channel.says_not_ready or await self._answers_again()

    async def _answers_again(self) -> bool:
        """Ask for the vector of one token: only an answer shows that canaries are right again."""
        one = np.ones(1, np.int32)
        try:
            await self.embed(TokenBatch(one, one), _PROBE_TIMEOUT_S)
        except EmbedwayError:
            return False
        return True

    async def close(self) -> None:
        """Close the connection; calls under way end with UpstreamUnavailableError."""
        await self._channel.close()
