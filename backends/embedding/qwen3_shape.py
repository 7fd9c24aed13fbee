"""The shape of a Qwen3 transformer, and whether the packed forward pass is right for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Qwen3Shape:
    """Widths and counts of a Qwen3 model.

    The query projection is heads x head_dim wide, which need not be the hidden size.
    """

    hidden: int
    layers: int
    heads: int
    shared_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    positions: int
    rope_theta: float
    epsilon: float

    @property
    def query_width(self) -> int:
        """Numbers a token's queries take."""
        return self.heads * self.head_dim

    @property
    def shared_width(self) -> int:
        """Numbers a token's keys take; its values take as many."""
        return self.shared_heads * self.head_dim

    @property
    def linear_flop_per_token(self) -> int:
        """Floating-point operations of the matrix products, a multiply-add being two."""
        width = self.query_width
        weights = self.hidden * (2 * width + 2 * self.shared_width + 3 * self.intermediate)
        return 2 * weights * self.layers

    def attention_flop(self, length: int) -> int:
        """Floating-point operations of causal attention in a sequence of `length` tokens."""
        return 2 * self.query_width * length * length * self.layers


def read_qwen3_shape(config: Mapping[str, Any]) -> Qwen3Shape | None:
    """Read a `config.json`; None where the model is not a Qwen3 that the packed pass computes.

    Biases in attention, sliding windows, scaled rotations and other activations exist in the
    family; none of the published embedding models has them, and the general path takes them.
    """
    if config.get("model_type") != "qwen3" or _is_unusual(config):
        return None
    rope = config.get("rope_parameters") or {}
    heads = int(config["num_attention_heads"])
    return Qwen3Shape(
        hidden=int(config["hidden_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        shared_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or config["hidden_size"] // heads),
        intermediate=int(config["intermediate_size"]),
        vocab=int(config["vocab_size"]),
        positions=int(config["max_position_embeddings"]),
        rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
    )


def _is_unusual(config: Mapping[str, Any]) -> bool:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kinds = set(config.get("layer_types") or ("full_attention",))
    return (
        bool(config.get("attention_bias"))
        or bool(config.get("use_sliding_window"))
        or kinds != {"full_attention"}
        or rope.get("rope_type", rope.get("type", "default")) != "default"
        or config.get("hidden_act", "silu") != "silu"
    )
