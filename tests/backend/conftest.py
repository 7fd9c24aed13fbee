"""Models as the shared Triton server and as sentence-transformers have them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc.aio as grpc
from sentence_transformers import SentenceTransformer

from model_card import ModelCard, read_model_card
from tests.support.triton import MINILM_NAME, QWEN3_NAME, SharedTriton
from text_tokenizer import TextTokenizer

# Small models: two threads would spend their time waiting for each other.
torch.set_num_threads(1)


@dataclass(frozen=True, slots=True)
class Served:
    """A model and its reference."""

    name: str
    card: ModelCard
    tokenise: TextTokenizer
    reference: SentenceTransformer


@dataclass(frozen=True, slots=True)
class Server:
    client: grpc.InferenceServerClient
    models: dict[str, Served]
    triton: SharedTriton


def served(name: str, folder: Path) -> Served:
    card = read_model_card(folder)
    reference = SentenceTransformer(str(folder), device="cpu")
    return Served(name, card, TextTokenizer(card), reference)


@pytest.fixture(scope="session")
async def server(triton: SharedTriton, minilm: Path, qwen3_folder: Path) -> AsyncIterator[Server]:
    """A client of the shared Triton."""
    models = {
        MINILM_NAME: served(MINILM_NAME, minilm),
        QWEN3_NAME: served(QWEN3_NAME, qwen3_folder),
    }
    async with grpc.InferenceServerClient(f"127.0.0.1:{triton.process.ports.grpc}") as client:
        yield Server(client, models, triton)


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Row by row; (n, D), (n, D) → (n,)."""
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(axis=1) / norms
