"""The shape of a BERT encoder, and whether the packed forward pass is right for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BertShape:
    """Widths and counts of a BERT model."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab: int
    positions: int
    token_types: int
    epsilon: float

    @property
    def linear_flop_per_token(self) -> int:
        """Floating-point operations of the matrix products, a multiply-add being two."""
        return 2 * self.layers * self.hidden * (4 * self.hidden + 2 * self.intermediate)

    def attention_flop(self, length: int) -> int:
        """Floating-point operations of full attention in a sequence of `length` tokens."""
        return 4 * self.hidden * length * length * self.layers


def read_bert_shape(config: Mapping[str, Any]) -> BertShape | None:
    """Read a `config.json`; None where the model is not a BERT that the packed pass computes."""
    is_usual = (
        config.get("model_type") == "bert"
        and config.get("hidden_act", "gelu") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
    )
    if not is_usual:
        return None
    return BertShape(
        hidden=int(config["hidden_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        intermediate=int(config["intermediate_size"]),
        vocab=int(config["vocab_size"]),
        positions=int(config["max_position_embeddings"]),
        token_types=int(config.get("type_vocab_size", 2)),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
    )
