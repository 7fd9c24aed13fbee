"""The engine: token ids in, unit vectors out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dense import load_dense
from encoder import Encoder, Pass
from encoders import load_encoder
from faults import EngineError
from model_card import ModelCard
from packing import Ids, pack
from settings import Settings

Vectors = npt.NDArray[np.float32]


class Work:
    """A forward pass that is taken a step at a time and may rest between two."""

    def __init__(self, engine: "Engine", under_way: Pass) -> None:
        self._engine = engine
        self._pass = under_way

    def step(self) -> Vectors | None:
        """Take a step; the last one gives the vectors (n, dimensions) float32."""
        return self._engine.step(self._pass)


class Engine:
    """One model on one device. Not safe for several threads; an instance works on one."""

    def __init__(self, card: ModelCard, settings: Settings) -> None:
        """Load the model. Raises ModelLoadError with one sentence."""
        self.card = card
        self._device = settings.device
        self.encoder: Encoder = load_encoder(card, settings)
        self._dense = [load_dense(layer, settings.device) for layer in card.chain.dense_layers]

    def begin(self, sequences: Sequence[Ids]) -> Work:
        """Start on n sequences (tokens,) int32, which run together.

        Each sequence is the model's complete input, special tokens included, of 1 … `max_tokens`
        valid ids. Raises whatever torch raises.
        """
        with torch.inference_mode():
            return Work(self, self.encoder.begin(pack(sequences, self._device)))

    def step(self, under_way: Pass) -> Vectors | None:
        """Take a pass one step further; the last step gives its vectors.

        Rows have unit length. Raises EngineError where a vector would not, and whatever torch
        raises.
        """
        with torch.inference_mode():
            self.encoder.step(under_way)
            if under_way.steps_done < self.encoder.steps:
                return None
            vectors = self.encoder.features(under_way)
            for layer in self._dense:
                vectors = layer(vectors)
            return _unit_length(vectors)

    def embed(self, sequences: Sequence[Ids]) -> Vectors:
        """Embed sequences from start to end: n times (tokens,) int32 → (n, dimensions) float32."""
        work = self.begin(sequences)
        while (vectors := work.step()) is None:
            pass
        return vectors


def _unit_length(vectors: Tensor) -> Vectors:
    norms = torch.linalg.vector_norm(vectors, dim=-1)
    if not bool(((norms > 0) & norms.isfinite()).all()):
        raise EngineError("the model gave a vector that is zero or not finite")
    unit: Vectors = normalize(vectors, dim=-1).cpu().numpy()
    return unit
