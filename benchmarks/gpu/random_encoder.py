"""A Qwen3 encoder of a published size with random weights, made on the device itself."""

import torch
from torch import Tensor

from projection import Projection
from qwen3 import Qwen3Encoder
from qwen3_shape import Qwen3Shape
from qwen3_weights import Qwen3Layer, Qwen3Weights

SHAPES = {
    "0.6B": Qwen3Shape(1024, 28, 16, 8, 128, 3072, 151669, 32768, 1e6, 1e-6),
    "4B": Qwen3Shape(2560, 36, 32, 8, 128, 9728, 151665, 40960, 1e6, 1e-6),
    "8B": Qwen3Shape(4096, 36, 32, 8, 128, 12288, 151665, 40960, 1e6, 1e-6),
    # For trying the script itself on a machine without a GPU.
    "tiny": Qwen3Shape(64, 3, 4, 2, 16, 128, 512, 40960, 1e6, 1e-6),
}
_SPREAD = 0.02


def random_encoder(shape: Qwen3Shape, device: str, chunk_tokens: int) -> Qwen3Encoder:
    """An encoder that pools the last token, in bfloat16 (float32 on a CPU)."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    source = torch.Generator(device).manual_seed(7)

    def matrix(rows: int, columns: int) -> Tensor:
        made = torch.empty((rows, columns), dtype=dtype, device=device)
        return made.normal_(0, _SPREAD, generator=source)

    def ones(size: int) -> Tensor:
        return torch.ones(size, dtype=dtype, device=device)

    def layer() -> Qwen3Layer:
        return Qwen3Layer(
            input_norm=ones(shape.hidden),
            qkv=Projection(matrix(shape.query_width + 2 * shape.shared_width, shape.hidden)),
            query_norm=ones(shape.head_dim),
            key_norm=ones(shape.head_dim),
            output=Projection(matrix(shape.hidden, shape.query_width)),
            mlp_norm=ones(shape.hidden),
            gate_up=Projection(matrix(2 * shape.intermediate, shape.hidden)),
            down=Projection(matrix(shape.hidden, shape.intermediate)),
        )

    weights = Qwen3Weights(
        embeddings=matrix(shape.vocab, shape.hidden),
        layers=tuple(layer() for _ in range(shape.layers)),
        final_norm=ones(shape.hidden),
    )
    return Qwen3Encoder(shape, weights, ("lasttoken",), chunk_tokens, shape.positions)
