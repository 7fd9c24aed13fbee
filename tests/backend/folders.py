"""Small model folders with seeded random weights, written as sentence-transformers writes them."""

import json
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    Transformer,
)
from transformers import BertConfig, BertModel

from benchmarks.random_models import TERMINAL, byte_tokenizer, write_qwen3, write_tokenizer

__all__ = ["TERMINAL", "byte_tokenizer", "edit_json", "write_bert", "write_qwen3"]


def write_bert(folder: Path, modes: tuple[str, ...], dense: tuple[int, ...] = ()) -> None:
    """A BERT folder with the pooling modes, and Dense layers of the given widths."""
    torch.manual_seed(11)
    base = folder.with_name(folder.name + "-base")
    config = BertConfig(
        vocab_size=258,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=128,
        initializer_range=0.4,
    )
    BertModel(config).save_pretrained(base)
    write_tokenizer(base, f"[CLS] $A {TERMINAL}", 100, "right")
    modules: list[Any] = [Transformer(str(base)), Pooling(24, modes)]
    width = 24 * len(modes)
    for number, out in enumerate(dense):
        activation = (torch.nn.Tanh(), torch.nn.Identity())[number % 2]
        modules.append(Dense(width, out, activation_function=activation))
        width = out
    modules.append(Normalize())
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; a value of None removes the key."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content.update(changes)
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept))
