"""The three that embed the same texts with the same weights, each from text to vectors."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from benchmarks.engine.workloads import BATCH_TOKENS
from engine import Engine
from jobs import Job
from model_card import read_model_card
from scheduling import Scheduler
from settings import Settings
from text_tokenizer import TextTokenizer

Vectors = npt.NDArray[np.float32]


class Contender(Protocol):
    """Something that embeds."""

    def embed(self, texts: list[str]) -> Vectors:
        """Unit vectors (n, dimensions) float32 of texts that arrived together."""
        ...


class Ours:
    """The engine behind the scheduler that serves requests."""

    def __init__(self, folder: Path) -> None:
        self.card = read_model_card(folder)
        settings = Settings(str(folder), None, BATCH_TOKENS, "float32", "cpu", BATCH_TOKENS, 60)
        self._scheduler = Scheduler(
            Engine(self.card, settings).begin, BATCH_TOKENS, settings.long_tokens
        )
        self._tokenise = TextTokenizer(self.card)

    def sequences(self, texts: list[str]) -> list[npt.NDArray[np.int32]]:
        """Token ids, cut to the model's length as the reference cuts them."""
        limit = self.card.max_tokens
        return [
            ids if len(ids) <= limit else np.append(ids[: limit - 1], ids[-1])
            for ids in self._tokenise(texts)
        ]

    def embed(self, texts: list[str]) -> Vectors:
        """As one request."""
        job = Job(self.sequences(texts), (len(texts),), lambda: False, lambda job: None)
        self._scheduler.add([job])
        while self._scheduler.has_work:
            self._scheduler.step(lambda: None)
        return job.vectors()


class SentenceTransformers:
    """The library as its users call it, in float32: its own sorting, batches of 32, padding."""

    def __init__(self, folder: Path) -> None:
        self._model = SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": torch.float32}
        )

    def embed(self, texts: list[str]) -> Vectors:
        """One call."""
        vectors: Vectors = self._model.encode(texts, normalize_embeddings=True)
        return vectors


class PlainTransformers:
    """What a first version of a server does: batches of 32 as they come, padded to the longest."""

    def __init__(self, folder: Path, ours: Ours) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self._takes_last = ours.card.chain.pooling_modes == ("lasttoken",)
        self._max_tokens = ours.card.max_tokens

    def embed(self, texts: list[str]) -> Vectors:
        """One call."""
        parts = [self._run(texts[start : start + 32]) for start in range(0, len(texts), 32)]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _run(self, texts: list[str]) -> Vectors:
        features = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        hidden = self._model(**features).last_hidden_state
        mask = features["attention_mask"].unsqueeze(-1)
        # The tokenizers of models that are read at their last token pad on the left.
        pooled = hidden[:, -1] if self._takes_last else (hidden * mask).sum(1) / mask.sum(1)
        unit: Vectors = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return unit
