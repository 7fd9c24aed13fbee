"""Cut sequences into micro-batches that a forward pass takes at once."""

from collections.abc import Iterator, Sequence


def cut_by_tokens(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield the places of `lengths` in micro-batches, longest first, each place once.

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
