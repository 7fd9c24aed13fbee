"""Small Qwen3 models with seeded random weights, and what transformers says of their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

VOCABULARY = 260
MAX_TOKENS = 300


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model; `is_sharded` splits its weights over several files."""

    hidden: int
    heads: int
    key_value_heads: int
    head_width: int
    is_tied: bool = True
    has_head: bool = False
    is_sharded: bool = False


SHAPES = {
    "wide queries, grouped heads": Shape(32, 4, 2, 12),
    "as many keys as queries": Shape(48, 3, 3, 16),
    "one key for all, narrow queries": Shape(64, 4, 1, 8),
    "untied, with a language-model head": Shape(32, 4, 2, 12, is_tied=False, has_head=True),
    "sharded": Shape(40, 8, 2, 10, is_sharded=True),
}

# As wide as the demo model, so that upstreams of both keep one contract.
LIKE_MINILM = Shape(384, 6, 2, 32)


def write_model(folder: Path, shape: Shape, vocabulary: int = VOCABULARY) -> Qwen3Model:
    """Write config.json and safetensors; returns the model itself, in float32."""
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden + 16,
        num_hidden_layers=3,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        max_position_embeddings=MAX_TOKENS,
        rope_theta=1e6,
        tie_word_embeddings=shape.is_tied,
        initializer_range=0.4,
    )
    whole = Qwen3ForCausalLM(config) if shape.has_head else Qwen3Model(config)
    for name, parameter in whole.named_parameters():
        # Fresh norms are all ones, which would hide one that is left out.
        if "norm" in name:
            parameter.data.uniform_(0.5, 1.5)
    whole.save_pretrained(folder, max_shard_size="20KB" if shape.is_sharded else "5GB")
    model = whole.model if shape.has_head else whole
    return model.eval().requires_grad_(False)


def reference(model: Qwen3Model, sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Each sequence alone, its last token after the final norm: (n, hidden) of unit length."""
    rows = []
    # Threads that wait for each other cost more than such small products, most on a busy machine.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for ids in sequences:
        given = torch.from_numpy(ids.astype(np.int64)).unsqueeze(0)
        rows.append(model(input_ids=given).last_hidden_state[0, -1].numpy())
    torch.set_num_threads(threads)
    vectors = np.stack(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_sequences(lengths: Sequence[int], vocabulary: int = VOCABULARY) -> list[np.ndarray]:
    numbers = np.random.default_rng(5)
    return [numbers.integers(0, vocabulary, length).astype(np.int32) for length in lengths]


def padded(sequences: Sequence[np.ndarray], padding: int = 0) -> dict[str, np.ndarray]:
    """The graph's two inputs."""
    lengths = np.array([len(ids) for ids in sequences], np.int32)
    ids = np.full((len(sequences), lengths.max()), padding, np.int32)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    return {"INPUT_IDS": ids, "LENGTHS": lengths}
