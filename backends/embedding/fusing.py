"""Element-wise work between the matrix products: fused by torch.compile on CUDA, in place on a CPU.

On a GPU this work is bound by memory and a fifth of the time when each operation is a kernel of its
own. On a CPU compiling takes longer than it would ever save.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rotary import rotate


class ElementWise:
    """The functions for one device."""

    def __init__(self, device: str) -> None:
        is_fused = device.startswith("cuda") and importlib.util.find_spec("triton") is not None
        self.gate: Callable[[Tensor], Tensor] = _fused(_gate) if is_fused else _gate_in_place
        self.turn: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor] = (
            _fused(_turn) if is_fused else _turn
        )


def _gate(gate_and_up: Tensor) -> Tensor:
    """silu(gate) · up: (T, 2 I) → (T, I)."""
    gate, up = gate_and_up.chunk(2, dim=-1)
    return functional.silu(gate) * up


def _gate_in_place(gate_and_up: Tensor) -> Tensor:
    gate, up = gate_and_up.chunk(2, dim=-1)
    return functional.silu(gate, inplace=True).mul_(up)


def _turn(heads: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, epsilon: float) -> Tensor:
    """RMSNorm of each head, then its rotation: (T, H, D) → (T, H, D)."""
    return rotate(functional.rms_norm(heads, weight.shape, weight, epsilon), cos, sin)


def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(function, dynamic=True)
    return compiled
