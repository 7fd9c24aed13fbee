"""Golden vectors: what a model is known to answer, kept in `golden.json` beside its config.pbtxt.

`texts` stand there as the tokenizer gets them, prompts included. `vectors` are their unit vectors,
base64 of little-endian float32; or `scores` are the cosines of the first texts (queries) with the
others (documents), where only those were published. `source` says where they are from.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faults import ModelLoadError
from model_files import read_object

FILE = "golden.json"


@dataclass(frozen=True, slots=True)
class Golden:
    """n texts, and either their vectors (n, dimensions) or scores (queries, n - queries).

    `score_tolerance`: how far a score may be from the published one.
    """

    texts: list[str]
    vectors: npt.NDArray[np.float32] | None = None
    scores: npt.NDArray[np.float32] | None = None
    score_tolerance: float = 3e-3

    def complaint(self, answered: npt.NDArray[np.float32], min_cosine: float) -> str | None:
        """Say how unit vectors (n, dimensions) differ from what is known; None where they agree."""
        if self.vectors is not None:
            if self.vectors.shape != answered.shape:
                return f"the golden vectors are {self.vectors.shape}, the model's {answered.shape}"
            cosine = float((self.vectors * answered).sum(axis=1).min())
            if not cosine >= min_cosine:
                return f"a golden vector is met with cosine {cosine:.5f}, {min_cosine} is needed"
        if self.scores is not None:
            queries = len(self.scores)
            error = float(np.abs(answered[:queries] @ answered[queries:].T - self.scores).max())
            if not error <= self.score_tolerance:
                return (
                    f"a published score is missed by {error:.4f}, {self.score_tolerance} is allowed"
                )
        return None

    def as_json(self, source: str) -> dict[str, object]:
        """Return what `read_golden` reads."""
        content: dict[str, object] = {"source": source, "texts": self.texts}
        if self.vectors is not None:
            content["vectors"] = base64.b64encode(self.vectors.astype("<f4").tobytes()).decode()
        return content


def read_golden(folder: Path) -> Golden | None:
    """Read a model folder's `golden.json`, None where there is none. Raises ModelLoadError."""
    path = folder / FILE
    if not path.is_file():
        return None
    content = read_object(path)
    try:
        texts = [str(text) for text in content["texts"]]
        vectors = _vectors(content["vectors"], len(texts)) if "vectors" in content else None
        scores = _scores(content["scores"], len(texts)) if "scores" in content else None
        tolerance = float(content.get("score_tolerance", 3e-3))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(f"{path} is not a file of golden vectors") from error
    if vectors is None and scores is None:
        raise ModelLoadError(f"{path} holds neither vectors nor scores")
    return Golden(texts, vectors, scores, tolerance)


def _vectors(encoded: str, count: int) -> npt.NDArray[np.float32]:
    raw = base64.b64decode(encoded, validate=True)
    return np.frombuffer(raw, dtype="<f4").reshape(count, -1)


def _scores(rows: list[list[float]], count: int) -> npt.NDArray[np.float32]:
    scores = np.array(rows, dtype=np.float32)
    if scores.ndim != 2 or sum(scores.shape) != count:
        raise ValueError("scores are queries by documents")
    return scores
