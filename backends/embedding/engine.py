"""The engine: token ids in, unit vectors out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dense import load_dense
from faults import EngineError
from model_card import ModelCard
from pooling import pool
from settings import Settings
from weights import load_transformer

Ids = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.float32]


class Engine:
    """One model on one device. Not safe for several threads; an instance has one."""

    def __init__(self, card: ModelCard, settings: Settings) -> None:
        self.card = card
        self._device = settings.device
        self._transformer = load_transformer(card, settings)
        self._modes = card.chain.pooling_modes
        self._dense = [load_dense(layer, settings.device) for layer in card.chain.dense_layers]
        self._padding_id = _padding_id(self._transformer.config, card.vocab_size)

    def embed(self, sequences: Sequence[Ids]) -> Vectors:
        """Embed sequences in one forward pass: n times (tokens,) int32 → (n, dimensions) float32.

        Each sequence is the model's complete input, special tokens included, of 1 … `max_tokens`
        valid ids. Rows have unit length. Raises EngineError where a vector would not, and whatever
        torch raises.
        """
        ids, lengths = self._pad(sequences)
        with torch.inference_mode():
            mask = torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)
            hidden = self._transformer(input_ids=ids, attention_mask=mask.long()).last_hidden_state
            vectors = pool(hidden, lengths, self._modes)
            for layer in self._dense:
                vectors = layer(vectors)
            return _unit_length(vectors)

    def _pad(self, sequences: Sequence[Ids]) -> tuple[Tensor, Tensor]:
        """Return ids (n, longest) int64, padded on the right, and lengths (n,) int64.

        Causal models need no padding on the left: the last valid token is found by its length.
        """
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        ids = np.full((len(sequences), lengths.max()), self._padding_id, dtype=np.int64)
        for row, sequence in zip(ids, sequences, strict=True):
            row[: len(sequence)] = sequence
        return torch.from_numpy(ids).to(self._device), torch.from_numpy(lengths).to(self._device)


def _unit_length(vectors: Tensor) -> Vectors:
    norms = torch.linalg.vector_norm(vectors, dim=-1)
    if not bool(((norms > 0) & norms.isfinite()).all()):
        raise EngineError("the model gave a vector that is zero or not finite")
    unit: Vectors = normalize(vectors, dim=-1).cpu().numpy()
    return unit


def _padding_id(config: Any, vocab_size: int) -> int:  # noqa: ANN401
    """Return the id to pad with: masked, but RoBERTa also derives positions from it."""
    stated = getattr(config, "pad_token_id", None)
    return stated if isinstance(stated, int) and 0 <= stated < vocab_size else 0
