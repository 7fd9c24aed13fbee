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
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

TERMINAL = "<|endoftext|>"
QWEN3_PROMPTS = {
    "query": "Instruct: Find the passage that answers\nQuery:",
    "document": "",
}


def byte_tokenizer(template: str | None) -> Tokenizer:
    """A byte-level tokenizer of 258 ids whose post-processor follows the template."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([TERMINAL, "[CLS]"])
    if template is not None:
        specials = [(name, tokenizer.token_to_id(name)) for name in (TERMINAL, "[CLS]")]
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(single=template, special_tokens=specials),
            ]
        )
    return tokenizer


def write_tokenizer(folder: Path, template: str | None, max_length: int, side: str) -> None:
    PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(template),
        pad_token=TERMINAL,
        padding_side=side,
        model_max_length=max_length,
    ).save_pretrained(folder)


def write_qwen3(
    folder: Path, *, is_tied: bool, max_tokens: int = 512, dtype: str = "float32", **shape: int
) -> None:
    """A Qwen3-Embedding folder: query projection 48 wide over 32 hidden, 2 heads share a key.

    `shape` changes fields of its configuration.
    """
    torch.manual_seed(7)
    base = folder.with_name(folder.name + "-base")
    fields: dict[str, Any] = {
        "vocab_size": 260,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "max_position_embeddings": max_tokens,
        "tie_word_embeddings": is_tied,
        "initializer_range": 0.4,
    }
    config = Qwen3Config(**{**fields, **shape})
    Qwen3Model(config).to(getattr(torch, dtype)).save_pretrained(base)
    write_tokenizer(base, f"$A {TERMINAL}", 131072, "left")
    modules = [Transformer(str(base)), Pooling(config.hidden_size, "lasttoken"), Normalize()]
    SentenceTransformer(modules=modules, prompts=QWEN3_PROMPTS, device="cpu").save(str(folder))


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
