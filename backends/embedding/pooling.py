"""From token vectors to one vector a sequence, without padding.

Everything here runs in float32 whatever the model runs in. Formulas as in
sentence_transformers.sentence_transformer.modules.Pooling.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from packing import Pack


def pool(hidden: Tensor, pack: Pack, modes: tuple[str, ...]) -> Tensor:
    """Pool each sequence of a pack. hidden (T, D) → (n, D x modes) float32.

    Several modes are concatenated in their order.
    """
    return torch.cat([_POOLINGS[mode](hidden, pack) for mode in modes], dim=-1)


def _first(hidden: Tensor, pack: Pack) -> Tensor:
    return hidden[pack.first_rows].float()


def _last(hidden: Tensor, pack: Pack) -> Tensor:
    return hidden[pack.last_rows].float()


def _maximum(hidden: Tensor, pack: Pack) -> Tensor:
    floor = torch.full((len(pack.lengths), hidden.shape[1]), float("-inf"), device=pack.device)
    owners = pack.sequence_of_row.unsqueeze(1).expand(hidden.shape)
    return floor.scatter_reduce(0, owners, hidden.float(), "amax")


def _mean(hidden: Tensor, pack: Pack) -> Tensor:
    return _sum(hidden.float(), pack) / _lengths(pack)


def _mean_sqrt_length(hidden: Tensor, pack: Pack) -> Tensor:
    return _sum(hidden.float(), pack) / _lengths(pack).sqrt()


def _weighted_mean(hidden: Tensor, pack: Pack) -> Tensor:
    """Weight the token at place t by t + 1."""
    weights = (pack.positions + 1).unsqueeze(1).float()
    return _sum(hidden.float() * weights, pack) / _sum(weights, pack)


def _lengths(pack: Pack) -> Tensor:
    return pack.bounds.diff().unsqueeze(1)


def _sum(rows: Tensor, pack: Pack) -> Tensor:
    """Sum the rows of each sequence: (T, D) → (n, D)."""
    sums = torch.zeros((len(pack.lengths), rows.shape[1]), device=pack.device)
    return sums.index_add_(0, pack.sequence_of_row, rows)


_POOLINGS: dict[str, Callable[[Tensor, Pack], Tensor]] = {
    "cls": _first,
    "lasttoken": _last,
    "max": _maximum,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_length,
    "weightedmean": _weighted_mean,
}
