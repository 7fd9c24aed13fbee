"""Cuts sequences into batches padded on the right, so that padding and calls cost least together.

Pure: numbers in, numbers out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.domain.types import Int32Array, TokenBatch

# Reading the weights once takes a GPU about as long as computing this many tokens, so that is
# what a further call costs, and as much padding is worth it to be spared one.
_CALL_TOKENS = 300
# Any valid id does: nothing sees it. 0 is in every vocabulary.
_PADDING_ID = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """A shape that a target takes: at most `rows` sequences, padded to at most `tokens` each."""

    rows: int
    tokens: int


def plan_batches(lengths: Sequence[int], profiles: Sequence[Profile]) -> list[list[int]]:
    """Places of `lengths` in batches, each place once; every batch fits a profile.

    `profiles` take longer and longer, and no more sequences each than the one before; no length
    is above the last one's tokens. The sum of rows x longest + the price of a call over all
    batches is the smallest there is: sorted by length, an optimum never interleaves, so the best
    cuts of the sorted list are found one end after another.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    cheapest = np.zeros(len(order) + 1, dtype=np.int64)
    cuts = [0]
    rows = np.arange(profiles[0].rows, 0, -1)
    for end, place in enumerate(order, start=1):
        longest = lengths[place]
        most = min(end, _rows_for(longest, profiles))
        costs = cheapest[end - most : end] + rows[-most:] * longest
        best = int(costs.argmin())
        cheapest[end] = costs[best] + _CALL_TOKENS
        cuts.append(end - most + best)
    batches, end = list[list[int]](), len(order)
    while end:
        batches.append(order[cuts[end] : end])
        end = cuts[end]
    return batches


def _rows_for(tokens: int, profiles: Sequence[Profile]) -> int:
    """How many sequences of up to `tokens` tokens go into one batch."""
    return next(profile.rows for profile in profiles if tokens <= profile.tokens)


def pad(batch: TokenBatch, places: Sequence[int]) -> tuple[Int32Array, Int32Array]:
    """The sequences at `places`: ids (rows, longest) int32 padded on the right, lengths (rows,)."""
    ends = np.cumsum(batch.lengths)
    lengths = batch.lengths[places]
    ids = np.full((len(places), lengths.max()), _PADDING_ID, dtype=np.int32)
    for row, place, length in zip(ids, places, lengths, strict=True):
        row[:length] = batch.ids[ends[place] - length : ends[place]]
    return ids, lengths
