"""Qwen3-Embedding folders with seeded random weights, written as sentence-transformers writes them.

Speed does not depend on the weights' values, and exactness is held against a reference on the same
ones.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

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
    """Save that tokenizer, padded on `side`, for texts of `max_length` tokens."""
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=byte_tokenizer(template),
        pad_token=TERMINAL,
        padding_side=side,
        model_max_length=max_length,
    ).save_pretrained(folder)


def write_qwen3(
    folder: Path, *, is_tied: bool, max_tokens: int = 512, dtype: str = "float32", **shape: float
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
    # Both libraries draw progress bars over files that are written at once.
    with contextlib.redirect_stderr(io.StringIO()):
        Qwen3Model(config).to(getattr(torch, dtype)).save_pretrained(base)
        write_tokenizer(base, f"$A {TERMINAL}", 131072, "left")
        pooling = Pooling(config.hidden_size, "lasttoken")
        modules = [Transformer(str(base)), pooling, Normalize()]
        SentenceTransformer(modules=modules, prompts=QWEN3_PROMPTS, device="cpu").save(str(folder))
