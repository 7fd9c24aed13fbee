"""Reference vectors of a space in a file: its targets can be verified without the reference.

A file belongs to the golden texts as the space's tokenizer cuts them: where these change, it is
refused, and has to be written again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from router.domain.errors import ConfigurationError
from router.domain.types import Float32Array, TokenBatch


@dataclass(frozen=True, slots=True)
class Reference:
    """A space's golden batches and, where a file has them, their vectors (n, d) float32."""

    batches: Sequence[TokenBatch]
    vectors: Float32Array | None


def save(path: Path, batches: Sequence[TokenBatch], vectors: Float32Array) -> None:
    """Write vectors (n, d) float32 of golden batches."""
    with path.open("wb") as file:
        np.savez(file, golden=np.array(fingerprint(batches)), vectors=vectors)


def load(path: Path, batches: Sequence[TokenBatch], dimensions: int) -> Float32Array:
    """Vectors (n, d) float32; ConfigurationError where the file is none of these batches'."""
    try:
        with np.load(path, allow_pickle=False) as file:
            golden, vectors = str(file["golden"]), np.asarray(file["vectors"], np.float32)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise ConfigurationError(f"{path}: is no file of reference vectors") from error
    count = sum(batch.count for batch in batches)
    if golden != fingerprint(batches) or vectors.shape != (count, dimensions):
        raise ConfigurationError(
            f"{path}: was written for other golden texts, another tokenizer or dimension: "
            "write it again with `embedway verify --write`"
        )
    return vectors


def fingerprint(batches: Sequence[TokenBatch]) -> str:
    """What tells whether golden texts are cut into the same ids."""
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(batch.lengths.tobytes() + batch.ids.tobytes())
    return digest.hexdigest()
