"""A BERT model's weights on their device, queries, keys and values as one product."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bert_shape import BertShape
from projection import Projection
from safetensors_files import SafetensorsFiles, WeightReader

# Saved from the bare model, or from one with a head (which is never read).
_PREFIXES = ("", "bert.")
_WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class Norm:
    """The weight and bias of a LayerNorm."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class BertLayer:
    """One layer. `qkv`: queries, keys and values below each other."""

    qkv: Projection
    output: Projection
    attention_norm: Norm
    up: Projection
    down: Projection
    mlp_norm: Norm


@dataclass(frozen=True, slots=True)
class BertWeights:
    """The whole model. `positions` (positions, hidden) holds the first token type's row too."""

    words: Tensor
    positions: Tensor
    norm: Norm
    layers: tuple[BertLayer, ...]


def load_bert_weights(
    folder: Path, shape: BertShape, dtype: torch.dtype, device: str
) -> BertWeights:
    """Load published safetensors. Raises ModelLoadError with one sentence."""
    with SafetensorsFiles(folder) as files:
        reader = WeightReader(files, files.prefix(_WORDS, _PREFIXES), dtype, device)
        hidden = shape.hidden
        positions = reader.matrix("embeddings.position_embeddings.weight", shape.positions, hidden)
        types = reader.matrix("embeddings.token_type_embeddings.weight", shape.token_types, hidden)
        return BertWeights(
            words=reader.matrix(_WORDS, shape.vocab, hidden),
            # A text is all of the first type, so that row belongs to every position.
            positions=positions.add_(types[0]),
            norm=_norm(reader, "embeddings.LayerNorm", hidden),
            layers=tuple(_load_layer(reader, shape, number) for number in range(shape.layers)),
        )


def _load_layer(reader: WeightReader, shape: BertShape, number: int) -> BertLayer:
    name, hidden = f"encoder.layer.{number}", shape.hidden
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    return BertLayer(
        qkv=_projection(reader, parts, hidden, hidden),
        output=_projection(reader, [f"{name}.attention.output.dense"], hidden, hidden),
        attention_norm=_norm(reader, f"{name}.attention.output.LayerNorm", hidden),
        up=_projection(reader, [f"{name}.intermediate.dense"], shape.intermediate, hidden),
        down=_projection(reader, [f"{name}.output.dense"], hidden, shape.intermediate),
        mlp_norm=_norm(reader, f"{name}.output.LayerNorm", hidden),
    )


def _projection(reader: WeightReader, names: list[str], rows: int, columns: int) -> Projection:
    weights = [f"{name}.weight" for name in names]
    biases = [f"{name}.bias" for name in names]
    return Projection(
        reader.stacked(weights, [(rows, columns)] * len(names)),
        reader.stacked(biases, [(rows,)] * len(names)),
    )


def _norm(reader: WeightReader, name: str, size: int) -> Norm:
    return Norm(reader.vector(f"{name}.weight", size), reader.vector(f"{name}.bias", size))
