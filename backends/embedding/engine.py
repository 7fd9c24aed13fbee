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
from faults import EngineError, ModelLoadError
from graphs import Recordings
from model_card import ModelCard
from packing import Ids, pack
from qwen3 import Qwen3Encoder
from settings import Settings

Vectors = npt.NDArray[np.float32]
# What FP8 may cost; below it the model stays in bfloat16.
FP8_MIN_COSINE = 0.995


class Work:
    """A forward pass that is taken a step at a time and may rest between two."""

    def __init__(self, engine: "Engine", under_way: Pass) -> None:
        self._engine = engine
        self._pass = under_way

    def step(self) -> Vectors | None:
        """Take a step; the last one gives the vectors (n, dimensions) float32.

        A row that is no unit vector is NaN throughout.
        """
        return self._engine.step(self._pass)


class RecordedWork:
    """A short pass that is one step, replayed from a recording."""

    def __init__(self, engine: "Engine", features: Tensor) -> None:
        self._engine = engine
        self._features = features

    def step(self) -> Vectors:
        """Return the vectors (n, dimensions) float32."""
        return self._engine.finish(self._features)


class Engine:
    """One model on one device. Not safe for several threads; an instance works on one."""

    def __init__(self, card: ModelCard, settings: Settings) -> None:
        """Load the model. Raises ModelLoadError with one sentence."""
        self.card = card
        self._device = settings.device
        self.encoder: Encoder = load_encoder(card, settings)
        self._dense = [load_dense(layer, settings.device) for layer in card.chain.dense_layers]
        self._recordings: Recordings | None = None

    def begin(self, sequences: Sequence[Ids]) -> Work | RecordedWork:
        """Start on n sequences (tokens,) int32, which run together.

        Each sequence is the model's complete input, special tokens included, of 1 … `max_tokens`
        valid ids. Raises whatever torch raises.
        """
        with torch.inference_mode():
            if self._recordings is not None:
                features = self._recordings.features(sequences)
                if features is not None:
                    return RecordedWork(self, features)
            return Work(self, self.encoder.begin(pack(sequences, self._device)))

    def step(self, under_way: Pass) -> Vectors | None:
        """Take a pass one step further; the last step gives its vectors.

        Raises whatever torch raises.
        """
        with torch.inference_mode():
            self.encoder.step(under_way)
            if under_way.steps_done < self.encoder.steps:
                return None
            return self.finish(self.encoder.features(under_way))

    def finish(self, features: Tensor) -> Vectors:
        """Apply the dense layers and normalise: (n, D) float32 → (n, dimensions) float32.

        A row without a direction, zero or not finite, becomes NaN throughout.
        """
        with torch.inference_mode():
            for layer in self._dense:
                features = layer(features)
            norms = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
            is_sound = (norms > 0) & norms.isfinite()
            unit: Vectors = normalize(features, dim=-1).where(is_sound, torch.nan).cpu().numpy()
            return unit

    def embed(self, sequences: Sequence[Ids]) -> Vectors:
        """Embed sequences from start to end: n times (tokens,) int32 → (n, dimensions) float32.

        Raises EngineError where a row would not have unit length.
        """
        work = self.begin(sequences)
        while (vectors := work.step()) is None:
            pass
        if not np.isfinite(vectors).all():
            raise EngineError("the model gave a vector that is zero or not finite")
        return vectors

    def use_fp8(self, probes: Sequence[Ids]) -> float:
        """Change to FP8 products if the probes' vectors stay near enough; return their cosine.

        The smallest cosine to the vectors before decides, against `FP8_MIN_COSINE`. Raises
        ModelLoadError where the model has no FP8 form.
        """
        if not isinstance(self.encoder, Qwen3Encoder):
            raise ModelLoadError("the parameter 'dtype' is 'fp8', which is for Qwen3 models only")
        exact, before = self.encoder, self.embed(probes)
        self.encoder = exact.in_fp8()
        cosine = float((before * self.embed(probes)).sum(axis=1).min())
        if not cosine >= FP8_MIN_COSINE:
            self.encoder = exact
        return cosine

    def record_short_passes(self) -> bool:
        """Record CUDA graphs for short batches; False where they are not to be had."""
        if not self._device.startswith("cuda") or not isinstance(self.encoder, Qwen3Encoder):
            return False
        try:
            with torch.inference_mode():
                self._recordings = Recordings(self.encoder, self._device)
        except RuntimeError:
            # A kernel that cannot be recorded: short batches are launched one by one, as others.
            self._recordings = None
        return self._recordings is not None
