"""CUDA graphs for short batches: one launch instead of some hundred.

A query of a dozen tokens is bound by the launching of kernels, not by their work. Passes of up to
512 tokens are rounded up to a bucket and replayed from a recording. What is missing to the bucket
is filled with sequences of padding that belong to nobody; sequences do not see each other, so the
real ones' vectors stay what they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoder import Encoder
from packing import Ids, Pack, pack


@dataclass(frozen=True, slots=True)
class Bucket:
    """`tokens` in `sequences` sequences, exactly."""

    tokens: int
    sequences: int


BUCKETS = (Bucket(32, 2), Bucket(64, 4), Bucket(128, 8), Bucket(256, 16), Bucket(512, 32))


def bucket_for(lengths: Sequence[int]) -> Bucket | None:
    """Return the smallest bucket that takes sequences of these lengths, None where none does."""
    count, tokens = len(lengths), sum(lengths)
    for bucket in BUCKETS:
        spare_tokens, spare = bucket.tokens - tokens, bucket.sequences - count
        # Each spare sequence has a token at least, and spare tokens need a sequence to be in.
        if spare >= 0 and spare_tokens >= spare and (spare > 0 or spare_tokens == 0):
            return bucket
    return None


def fill(sequences: Sequence[Ids], bucket: Bucket) -> list[Ids]:
    """Return the sequences and, behind them, what fills the bucket."""
    spare = bucket.sequences - len(sequences)
    if spare == 0:
        return list(sequences)
    spare_tokens = bucket.tokens - sum(len(ids) for ids in sequences)
    lengths = [1] * (spare - 1) + [spare_tokens - spare + 1]
    return [*sequences, *(np.zeros(length, np.int32) for length in lengths)]


class Recording:
    """One bucket's pass, recorded once on the current CUDA device and replayed."""

    def __init__(self, encoder: Encoder, bucket: Bucket, device: str) -> None:
        """Record. Raises whatever torch raises where a kernel cannot be recorded."""
        self._pack = pack(fill([], bucket), device)
        # Made before recording: a recording may not copy from the host.
        self._inputs = _inputs_of(self._pack)
        self._pack.__dict__["longest"] = bucket.tokens
        _run(encoder, self._pack)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._features = _run(encoder, self._pack)

    def run(self, sequences: Sequence[Ids], bucket: Bucket) -> Tensor:
        """Return the features of the sequences, (n, D) float32."""
        filled = pack(fill(sequences, bucket), str(self._pack.device))
        for place, values in zip(self._inputs, _inputs_of(filled), strict=True):
            place.copy_(values, non_blocking=True)
        self._graph.replay()
        return self._features[: len(sequences)].clone()


class Recordings:
    """All buckets of one encoder."""

    def __init__(self, encoder: Encoder, device: str) -> None:
        """Record every bucket, the largest first, so that the others fit into its memory."""
        self._of = {bucket: Recording(encoder, bucket, device) for bucket in reversed(BUCKETS)}

    def features(self, sequences: Sequence[Ids]) -> Tensor | None:
        """Replay the smallest bucket that takes the sequences, if any: (n, D) float32."""
        bucket = bucket_for([len(ids) for ids in sequences])
        return None if bucket is None else self._of[bucket].run(sequences, bucket)


def _inputs_of(made: Pack) -> tuple[Tensor, ...]:
    """Return the tensors through which a pass sees its pack."""
    return made.ids, made.bounds, made.positions, made.last_rows


def _run(encoder: Encoder, made: Pack) -> Tensor:
    under_way = encoder.begin(made)
    for _ in range(encoder.steps):
        encoder.step(under_way)
    return encoder.features(under_way)
