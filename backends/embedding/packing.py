"""Sequences of any lengths, end to end: what a forward pass without padding runs on."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Pack:
    """T tokens of n sequences, one after another.

    `ids` (T,) int64 on the device; `lengths` of the n sequences, each at least 1.
    """

    ids: Tensor
    lengths: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.ids.device

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)

    @cached_property
    def bounds(self) -> Tensor:
        """Cumulative lengths (n + 1,) int32: sequence i is `[bounds[i], bounds[i + 1])`."""
        ends = np.cumsum((0, *self.lengths), dtype=np.int32)
        return torch.from_numpy(ends).to(self.device)

    @cached_property
    def positions(self) -> Tensor:
        """The place of each token in its own sequence, (T,) int64, from 0."""
        starts = np.repeat(np.cumsum((0, *self.lengths[:-1])), self.lengths)
        return torch.from_numpy(np.arange(len(starts)) - starts).to(self.device)

    @cached_property
    def first_rows(self) -> Tensor:
        """Row of each sequence's first token, (n,) int64."""
        return self.bounds[:-1].long()

    @cached_property
    def last_rows(self) -> Tensor:
        """Row of each sequence's last token, (n,) int64."""
        return self.bounds[1:].long() - 1

    @cached_property
    def sequence_of_row(self) -> Tensor:
        """The sequence that each token belongs to, (T,) int64."""
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        return torch.from_numpy(owners).to(self.device)

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """Neighbours of one length: (first row, sequences, tokens of each)."""
        found, row = [], 0
        for length, group in itertools.groupby(self.lengths):
            count = len(list(group))
            found.append((row, count, length))
            row += count * length
        return tuple(found)


def pack(sequences: Sequence[Ids], device: str) -> Pack:
    """Pack n sequences (tokens,) int32 of at least one token each, in their order."""
    ids = np.concatenate(sequences).astype(np.int64)
    return Pack(torch.from_numpy(ids).to(device), tuple(len(ids) for ids in sequences))


def cut_by_tokens(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield the places of `lengths` in micro-batches to be padded, longest first, each place once.

    A micro-batch of n sequences, the longest of L tokens, is padded to n x L tokens; that is kept
    within `max_tokens`. A sequence that is longer than that goes alone. Neighbours in length share
    a micro-batch, so little is padded; longest first, so memory is claimed once.
    """
    batch: list[int] = []
    widest = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and (len(batch) + 1) * widest > max_tokens:
            yield batch
            batch = []
        widest = widest if batch else lengths[place]
        batch.append(place)
    if batch:
        yield batch
