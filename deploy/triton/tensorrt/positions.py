"""What depends on a token's place alone: rotary positions, and which tokens a token sees.

Both are tables for the longest sequence, of which a batch takes as many rows as it has tokens.
"""

import numpy as np
import torch

from graph_builder import GraphBuilder

# Finite, so that no arithmetic on it makes NaN, and far below any score.
_UNSEEN = -1e30


def rotation(
    build: GraphBuilder, tokens: str, max_tokens: int, head_width: int, theta: float
) -> tuple[str, str]:
    """Cosines and sines (tokens, 1, head width) float32, rounded as transformers rounds them.

    "RoFormer: Enhanced Transformer with Rotary Position Embedding", section 3.2.
    """
    exponents = torch.arange(0, head_width, 2).float() / head_width
    frequencies = 1.0 / (theta**exponents)
    angles = torch.arange(max_tokens).float().unsqueeze(1) * frequencies
    angles = torch.cat((angles, angles), dim=1).unsqueeze(1)
    return (
        build.first(build.weight("rotary.cosines", angles.cos()), tokens),
        build.first(build.weight("rotary.sines", angles.sin()), tokens),
    )


def causal_bias(build: GraphBuilder, tokens: str, max_tokens: int) -> str:
    """(tokens, tokens) float32: 0 where a token sees another, far below any score elsewhere."""
    places = build.first(build.constant(np.arange(max_tokens), np.int32), tokens)
    sees = build.node(
        "LessOrEqual",
        build.node("Unsqueeze", places, build.constant([0])),
        build.node("Unsqueeze", places, build.constant([1])),
    )
    return build.node("Where", sees, build.number(0.0), build.number(_UNSEEN))
