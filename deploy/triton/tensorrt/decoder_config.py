"""What config.json says about a Qwen3 decoder, as far as its forward pass depends on it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export_faults import ExportError

_DEFAULT_THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes of a Qwen3 decoder. `heads * head_width` need not be `hidden`."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    max_positions: int
    epsilon: float
    theta: float

    @property
    def query_width(self) -> int:
        """Columns of the query projection."""
        return self.heads * self.head_width

    @property
    def key_value_width(self) -> int:
        """Columns of the key projection, and of the value projection."""
        return self.key_value_heads * self.head_width


def read_decoder_config(folder: Path) -> DecoderConfig:
    """Read a published folder's config.json.

    Raises ExportError where there is none, or where it asks for what the graph does not do: its
    vectors would be wrong without anybody noticing.
    """
    path = folder / "config.json"
    try:
        stated: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read as JSON: {error}") from error
    _require_plain_qwen3(path, stated)
    try:
        heads, hidden = stated["num_attention_heads"], stated["hidden_size"]
        config = DecoderConfig(
            vocabulary=stated["vocab_size"],
            hidden=hidden,
            intermediate=stated["intermediate_size"],
            layers=stated["num_hidden_layers"],
            heads=heads,
            key_value_heads=stated.get("num_key_value_heads", heads),
            head_width=stated.get("head_dim") or hidden // heads,
            max_positions=stated["max_position_embeddings"],
            epsilon=stated["rms_norm_eps"],
            theta=float(_rope(stated).get("rope_theta", _DEFAULT_THETA)),
        )
    except KeyError as error:
        raise ExportError(f"{path} does not say {error.args[0]}") from error
    if config.heads % config.key_value_heads:
        raise ExportError(
            f"{path}: {heads} heads do not share {config.key_value_heads} keys evenly"
        )
    return config


def _rope(stated: dict[str, Any]) -> dict[str, Any]:
    """Return the rotary settings: newer files group them, older ones keep theta at the top."""
    top = {"rope_theta": stated["rope_theta"]} if "rope_theta" in stated else {}
    grouped = stated.get("rope_parameters") or stated.get("rope_scaling") or {}
    return top | grouped


def _require_plain_qwen3(path: Path, stated: dict[str, Any]) -> None:
    rope = _rope(stated)
    is_windowed = stated.get("use_sliding_window", False) or any(
        kind != "full_attention" for kind in stated.get("layer_types") or ()
    )
    not_done = {
        "another model type than qwen3": stated.get("model_type") != "qwen3",
        "a bias on attention": stated.get("attention_bias", False),
        "another activation than SiLU": stated.get("hidden_act", "silu") != "silu",
        "sliding windows": is_windowed,
        "scaled rotary positions": rope.get("rope_type", rope.get("type", "default")) != "default",
    }
    for what, is_asked_for in not_done.items():
        if is_asked_for:
            raise ExportError(f"{path} asks for {what}, which the exported graph does not do")
