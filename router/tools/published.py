"""What was published of a model's vectors: a `golden.json` as it stands beside a config.pbtxt."""

import base64
import binascii
from pathlib import Path

import msgspec
import numpy as np

from router.domain.errors import ConfigurationError
from router.domain.types import Float32Array


class Published(msgspec.Struct, frozen=True):
    """n texts, prompts included, and the vectors or the scores that are known of them.

    `scores[q][d]` is the cosine of text q with text `len(scores) + d`.
    """

    texts: list[str]
    source: str = ""
    vectors: str | None = None
    scores: list[list[float]] | None = None
    score_tolerance: float = 3e-3

    def unit_vectors(self) -> Float32Array:
        """The vectors (n, dimensions) float32; ConfigurationError where there are none."""
        try:
            raw = base64.b64decode(self.vectors or "", validate=True)
            return np.frombuffer(raw, dtype="<f4").reshape(len(self.texts), -1)
        except (binascii.Error, ValueError) as error:
            raise ConfigurationError("the golden vectors are not base64 of float32") from error


def read_published(path: Path) -> Published:
    """Read the file; ConfigurationError where it is not one."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Published)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{path} is not a file of golden vectors: {error}") from error
    if not found.texts or (found.vectors is None and found.scores is None):
        raise ConfigurationError(f"{path} holds neither vectors nor scores")
    return found
