"""Rotary position embedding (Su et al. 2021) in the half-split form that Qwen3 was trained with."""

import torch
from torch import Tensor


class Rotary:
    """Angles of all positions that a model has, made once, in float32."""

    def __init__(self, head_dim: int, theta: float, positions: int, device: str) -> None:
        # Computed on the CPU whatever the device: the powers are then the same everywhere.
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        angles = torch.outer(torch.arange(positions, dtype=torch.float32), theta**-exponents)
        self._cos = angles.cos().to(device)
        self._sin = angles.sin().to(device)

    def at(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, each (T, 1, head_dim / 2), for positions (T,)."""
        cos, sin = self._cos[positions], self._sin[positions]
        return cos.to(dtype).unsqueeze(1), sin.to(dtype).unsqueeze(1)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each head of (T, H, D) by its token's angles (T, 1, D / 2)."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
