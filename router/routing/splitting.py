"""Cuts a batch to what a target takes, in halves to find what a target refuses, and joins again."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from router.domain.errors import UpstreamContractError
from router.domain.types import Float32Array, Int32Array, TokenBatch


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring sequences of a batch; `start` is the place of the first in the whole."""

    start: int
    batch: TokenBatch

    @property
    def end(self) -> int:
        """Place after the last."""
        return self.start + self.batch.count


def split(batch: TokenBatch, max_inputs: int | None, max_tokens: int | None) -> list[Part]:
    """The fewest neighbouring parts within both limits, in order.

    A sequence that is longer than `max_tokens` by itself stands alone: whether a target takes it
    is the plan's question.
    """
    fits = max_inputs is None or batch.count <= max_inputs
    if fits and (max_tokens is None or batch.total <= max_tokens):
        return [Part(0, batch)]
    parts: list[Part] = []
    start = tokens = 0
    for place, length in enumerate(batch.lengths.tolist()):
        full = max_inputs is not None and place - start >= max_inputs
        over = max_tokens is not None and tokens + length > max_tokens
        if place > start and (full or over):
            parts.append(Part(start, piece(batch, start, place)))
            start, tokens = place, 0
        tokens += length
    parts.append(Part(start, piece(batch, start, batch.count)))
    return parts


def halves(part: Part) -> tuple[Part, Part]:
    """Two parts of equal count, or nearly; the part must hold at least two sequences."""
    middle = part.batch.count // 2
    return (
        Part(part.start, piece(part.batch, 0, middle)),
        Part(part.start + middle, piece(part.batch, middle, part.batch.count)),
    )


def piece(batch: TokenBatch, start: int, end: int) -> TokenBatch:
    """Sequences `start` up to `end`, without a copy of their ids."""
    first = int(batch.lengths[:start].sum())
    last = first + int(batch.lengths[start:end].sum())
    return TokenBatch(
        ids=batch.ids[first:last],
        lengths=batch.lengths[start:end],
        texts=None if batch.texts is None else batch.texts[start:end],
        input_type=batch.input_type,
    )


def chosen(batch: TokenBatch, places: list[int]) -> TokenBatch:
    """The sequences at these places, in this order."""
    if len(places) == batch.count and places == list(range(batch.count)):
        return batch
    ends = np.cumsum(batch.lengths)
    pieces = [batch.ids[ends[place] - batch.lengths[place] : ends[place]] for place in places]
    ids: Int32Array = np.concatenate(pieces) if pieces else batch.ids[:0]
    return TokenBatch(
        ids=ids,
        lengths=batch.lengths[places],
        texts=None if batch.texts is None else tuple(batch.texts[place] for place in places),
        input_type=batch.input_type,
    )


def joined(answers: Iterable[tuple[int, Float32Array]], count: int) -> Float32Array:
    """(count, d) float32 of pieces, each with the place of its first row.

    Raises UpstreamContractError where a row is missing or stands twice.
    """
    pairs = list(answers)
    if len(pairs) == 1 and pairs[0][0] == 0 and len(pairs[0][1]) == count:
        return pairs[0][1]
    pairs.sort(key=lambda pair: pair[0])
    reached = 0
    for start, vectors in pairs:
        if start != reached:
            raise UpstreamContractError("a part of the answer is missing or stands twice")
        reached += len(vectors)
    if len({vectors.shape[1] for _, vectors in pairs}) > 1:
        raise UpstreamContractError("the target answered vectors of different dimensions")
    if reached != count or not pairs:
        raise UpstreamContractError("a part of the answer is missing")
    return np.concatenate([vectors for _, vectors in pairs])
