"""A Qwen3 model's weights on their device, laid out for as few matrix products as there can be."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from projection import AnyProjection, Projection
from qwen3_shape import Qwen3Shape
from safetensors_files import SafetensorsFiles, WeightReader

# Saved from the bare model, or from one with a language model's head (which is never read).
_PREFIXES = ("", "model.")
_EMBEDDINGS = "embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class Qwen3Layer:
    """One layer. `qkv`: queries, keys and values below each other; `gate_up` likewise."""

    input_norm: Tensor
    qkv: AnyProjection
    query_norm: Tensor
    key_norm: Tensor
    output: AnyProjection
    mlp_norm: Tensor
    gate_up: AnyProjection
    down: AnyProjection

    def in_fp8(self) -> "Qwen3Layer":
        """Return the layer with its products in FP8; norms stay as they are."""
        return replace(
            self,
            qkv=_in_fp8(self.qkv),
            output=_in_fp8(self.output),
            gate_up=_in_fp8(self.gate_up),
            down=_in_fp8(self.down),
        )


@dataclass(frozen=True, slots=True)
class Qwen3Weights:
    """The whole model. `embeddings` (vocab, hidden)."""

    embeddings: Tensor
    layers: tuple[Qwen3Layer, ...]
    final_norm: Tensor


def load_qwen3_weights(
    folder: Path, shape: Qwen3Shape, dtype: torch.dtype, device: str
) -> Qwen3Weights:
    """Load published safetensors. Raises ModelLoadError with one sentence."""
    with SafetensorsFiles(folder) as files:
        reader = WeightReader(files, files.prefix(_EMBEDDINGS, _PREFIXES), dtype, device)
        return Qwen3Weights(
            embeddings=reader.matrix(_EMBEDDINGS, shape.vocab, shape.hidden),
            layers=tuple(_load_layer(reader, shape, number) for number in range(shape.layers)),
            final_norm=reader.vector("norm.weight", shape.hidden),
        )


def _load_layer(reader: WeightReader, shape: Qwen3Shape, number: int) -> Qwen3Layer:
    name, hidden = f"layers.{number}", shape.hidden
    attention, mlp = f"{name}.self_attn", f"{name}.mlp"
    shared, wide = (shape.shared_width, hidden), (shape.intermediate, hidden)
    qkv = reader.stacked(
        [f"{attention}.{part}_proj.weight" for part in "qkv"],
        [(shape.query_width, hidden), shared, shared],
    )
    gate_up = reader.stacked([f"{mlp}.{part}_proj.weight" for part in ("gate", "up")], [wide, wide])
    output = reader.matrix(f"{attention}.o_proj.weight", hidden, shape.query_width)
    return Qwen3Layer(
        input_norm=reader.vector(f"{name}.input_layernorm.weight", hidden),
        qkv=Projection(qkv),
        query_norm=reader.vector(f"{attention}.q_norm.weight", shape.head_dim),
        key_norm=reader.vector(f"{attention}.k_norm.weight", shape.head_dim),
        output=Projection(output),
        mlp_norm=reader.vector(f"{name}.post_attention_layernorm.weight", hidden),
        gate_up=Projection(gate_up),
        down=Projection(reader.matrix(f"{mlp}.down_proj.weight", hidden, shape.intermediate)),
    )


def _in_fp8(projection: AnyProjection) -> AnyProjection:
    return projection.in_fp8() if isinstance(projection, Projection) else projection
