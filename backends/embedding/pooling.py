"""From token vectors to one unit vector a sequence: pooling, dense layers, normalisation.

Everything here runs in float32 whatever the model runs in. Formulas as in
sentence_transformers.sentence_transformer.modules.Pooling, for right-padded batches.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def pool(hidden: Tensor, lengths: Tensor, modes: tuple[str, ...]) -> Tensor:
    """Pool each sequence. hidden (n, T, D), lengths (n,) int64 → (n, D x modes) float32.

    Row i is valid in `hidden[i, :lengths[i]]`. Several modes are concatenated in their order.
    """
    return torch.cat([_POOLINGS[mode](hidden, lengths) for mode in modes], dim=-1)


def _first(hidden: Tensor, _lengths: Tensor) -> Tensor:
    return hidden[:, 0].float()


def _last(hidden: Tensor, lengths: Tensor) -> Tensor:
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, lengths - 1].float()


def _maximum(hidden: Tensor, lengths: Tensor) -> Tensor:
    padding = ~_is_valid(hidden, lengths)
    return hidden.float().masked_fill(padding, float("-inf")).amax(dim=1)


def _mean(hidden: Tensor, lengths: Tensor) -> Tensor:
    return _sum(hidden, _is_valid(hidden, lengths)) / lengths.unsqueeze(1)


def _mean_sqrt_length(hidden: Tensor, lengths: Tensor) -> Tensor:
    return _sum(hidden, _is_valid(hidden, lengths)) / lengths.unsqueeze(1).sqrt()


def _weighted_mean(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Weight the token at place t by t + 1."""
    weights = torch.arange(1, hidden.shape[1] + 1, device=hidden.device).view(1, -1, 1)
    valid_weights = weights * _is_valid(hidden, lengths)
    return _sum(hidden, valid_weights) / valid_weights.sum(dim=1)


def _is_valid(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Tell tokens from padding: (n, T, 1) bool."""
    places = torch.arange(hidden.shape[1], device=hidden.device)
    return (places < lengths.unsqueeze(1)).unsqueeze(-1)


def _sum(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden.float() * weights).sum(dim=1)


_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "lasttoken": _last,
    "max": _maximum,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_length,
    "weightedmean": _weighted_mean,
}
