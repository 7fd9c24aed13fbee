"""Attention inside each sequence of a pack: no token sees another sequence, none is padded.

On CUDA one varlen kernel does the whole pack (torch.nn.attention.varlen, FlashAttention). On a CPU
neighbours of one length share a call of scaled_dot_product_attention.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from packing import Pack

# query (T, H, D), key and value (T, G, D), H a multiple of G → (T, H, D); all of one dtype.
Attend = Callable[[Tensor, Tensor, Tensor, Pack, bool], Tensor]


def attend(query: Tensor, key: Tensor, value: Tensor, pack: Pack, *, causal: bool) -> Tensor:
    """Every token of the pack attends to its own sequence: (T, H, D), (T, G, D) x 2 → (T, H, D)."""
    if query.is_cuda:
        return _varlen(query, key, value, pack, pack.bounds, pack.longest, causal=causal)
    key, value = _spread(key, query.shape[1]), _spread(value, query.shape[1])
    attended = torch.empty_like(query)
    for row, count, length in pack.runs:
        end = row + count * length
        parts = (_rows(part, row, count, length) for part in (query, key, value))
        done = _scaled(*parts, causal=causal and length > 1)
        attended[row:end] = done.flatten(0, 1)
    return attended


def attend_once(query: Tensor, key: Tensor, value: Tensor, pack: Pack) -> Tensor:
    """One query a sequence attends to all of it: (n, H, D), (T, G, D) x 2 → (n, H, D)."""
    if query.is_cuda:
        bounds = torch.arange(len(query) + 1, dtype=torch.int32, device=query.device)
        return _varlen(query, key, value, pack, bounds, 1, causal=False)
    key, value = _spread(key, query.shape[1]), _spread(value, query.shape[1])
    attended, place = torch.empty_like(query), 0
    for row, count, length in pack.runs:
        keys, values = (_rows(part, row, count, length) for part in (key, value))
        asked = query[place : place + count].unsqueeze(1)
        attended[place : place + count] = _scaled(asked, keys, values, causal=False).squeeze(1)
        place += count
    return attended


def _rows(packed: Tensor, row: int, count: int, length: int) -> Tensor:
    """Cut a run of sequences of one length out of a pack: (T, H, D) → (count, length, H, D)."""
    return packed[row : row + count * length].view(count, length, *packed.shape[1:])


def _scaled(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
    """(m, L, H, D) x 3 → (m, L, H, D)."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    done = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return done.transpose(1, 2)


def _spread(shared: Tensor, heads: int) -> Tensor:
    """Repeat each of G shared heads for its queries: (T, G, D) → (T, H, D).

    Not `enable_gqa`: on a CPU that leaves the fused kernel, and short sequences take many times
    as long.
    """
    if shared.shape[1] == heads:
        return shared
    return shared.repeat_interleave(heads // shared.shape[1], dim=1)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, pack: Pack, bounds: Tensor, longest: int,
    *, causal: bool,
) -> Tensor:  # fmt: skip
    kernel, options = _kernel(causal=causal)
    if "enable_gqa" not in options:
        key, value = _spread(key, query.shape[1]), _spread(value, query.shape[1])
    done: Tensor = kernel(query, key, value, bounds, pack.bounds, longest, pack.longest, **options)
    return done


def _kernel(*, causal: bool) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return torch's varlen attention and the options that say `causal` in this release of it."""
    # Imported late: a torch without it still serves on a CPU.
    from torch.nn.attention import varlen  # noqa: PLC0415

    return varlen.varlen_attn, varlen_options(varlen.varlen_attn, causal=causal)


def varlen_options(kernel: Callable[..., Any], *, causal: bool) -> dict[str, Any]:
    """Return the keyword arguments for a kernel whose signature drifts between releases.

    torch 2.10 has `is_causal`; later it is `window_size` (left, right; -1 is unbounded), and
    `enable_gqa` came with it.
    """
    known = inspect.signature(kernel).parameters
    options: dict[str, Any] = {}
    if "window_size" in known:
        options["window_size"] = (-1, 0) if causal else (-1, -1)
    elif "is_causal" in known:
        options["is_causal"] = causal
    else:
        raise TypeError("this torch's varlen_attn can be told neither window_size nor is_causal")
    if "enable_gqa" in known:
        options["enable_gqa"] = True
    return options
