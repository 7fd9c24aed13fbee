"""A Triton model that takes padded batches of a few shapes: a TensorRT engine's."""

import asyncio
from collections.abc import Sequence

import numpy as np

from router.domain.errors import (
    DeadlineExceededError,
    UpstreamContractError,
    UpstreamRejectedError,
)
from router.domain.journal import Call
from router.domain.types import Float32Array, TokenBatch
from router.upstreams.padding import Profile, pad, plan_batches
from router.upstreams.triton_channel import TritonChannel

# Triton runs its queue in order: a request of many batches that queued them all would hold up
# everybody else's until the last. These keep a few GPUs busy meanwhile.
_CALLS_AT_ONCE = 4


class TritonPaddedUpstream:
    """One model on one Triton server: INPUT_IDS [rows, longest] and LENGTHS [rows] a call."""

    def __init__(self, url: str, model: str, profiles: Sequence[Profile]) -> None:
        """`url` as for TritonChannel, `profiles` as for `plan_batches`."""
        self._channel = TritonChannel(url, model)
        self._profiles = profiles
        self.tokens = 0
        self.places = 0

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """Vectors (n, dimension) float32 of the n sequences; cancelled calls are cancelled there.

        Raises UpstreamRejectedError, before any call, where a sequence is longer than the target
        takes; else the UpstreamError that fits, or DeadlineExceededError.
        """
        longest, most = int(batch.lengths.max()), self._profiles[-1].tokens
        if longest > most:
            raise UpstreamRejectedError(
                f"an input has {longest} tokens, the target takes at most {most}"
            )
        plan = plan_batches(batch.lengths.tolist(), self._profiles)
        room = asyncio.Semaphore(_CALLS_AT_ONCE)
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                calls = [
                    group.create_task(self._call(batch, places, timeout_s, room, call))
                    for places in plan
                ]
        except TimeoutError as error:
            raise DeadlineExceededError("the target did not answer in time") from error
        except ExceptionGroup as failures:
            # One failed, the others were cancelled: the request has failed for its reason.
            raise failures.exceptions[0] from failures
        return _in_order([call.result() for call in calls], plan)

    async def ready(self) -> bool:
        """Whether this model is loaded and would serve."""
        return await self._channel.ready()

    async def close(self) -> None:
        """Close the connection; calls under way end with UpstreamUnavailableError."""
        await self._channel.close()

    async def _call(
        self,
        batch: TokenBatch,
        places: Sequence[int],
        timeout_s: float,
        room: asyncio.Semaphore,
        call: Call | None,
    ) -> Float32Array:
        async with room:
            ids, lengths = pad(batch, places)
            self.tokens += int(lengths.sum())
            self.places += ids.size
            inputs = {"INPUT_IDS": ids, "LENGTHS": lengths}
            vectors = await self._channel.infer(inputs, timeout_s, call)
        if vectors.ndim != 2 or len(vectors) != len(places):
            raise UpstreamContractError("the target did not answer a vector for each sequence")
        return vectors


def _in_order(parts: Sequence[Float32Array], plan: Sequence[Sequence[int]]) -> Float32Array:
    """The batches' vectors (rows, dimension) as (n, dimension), each at its sequence's place."""
    if len({part.shape[1] for part in parts}) != 1:
        raise UpstreamContractError("the target answered vectors of several dimensions")
    vectors = np.concatenate(parts)
    ordered = np.empty_like(vectors)
    ordered[np.concatenate(plan)] = vectors
    return ordered
