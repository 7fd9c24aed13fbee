"""Gates that any running target of an embedding model can be held against, text in, vectors out.

They need no reference implementation: a vector must not depend on its company or its order, must be
finite and of unit length at every length, and must agree with what was published for the model.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    RequestError,
    UpstreamContractError,
    UpstreamError,
)
from router.domain.types import Float32Array
from router.text.golden import GOLDEN_TEXTS
from router.tools.published import Published

# texts, dimensions or None for the full width → (n, d) float32; RequestError where refused.
Embed = Callable[[Sequence[str], int | None], Awaitable[Float32Array]]

_MIN_COSINE = 0.9999
_MAX_NORM_ERROR = 1e-3
# Against float32, what bfloat16 may cost.
_MIN_COSINE_PUBLISHED = 0.999
_WORDS = (1, 2, 3, 7, 20, 60, 150, 400, 1000, 3000)
# Some models overflow float16 on texts that begin like this.
_NAN_PROBES = ("import", "import torch", "import numpy as np\nfrom math import pi\n")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate found; `passed` is None where the target does not offer what it is about."""

    gate: str
    passed: bool | None
    figure: str


async def hold_against_gates(embed: Embed, published: Published | None) -> list[Finding]:
    """Ask every gate, one after the other; a target that fails in one is asked the next too."""
    subject = _Subject(embed, await _fitting(embed))
    gates: list[tuple[str, Callable[[], Awaitable[tuple[bool | None, str]]]]] = [
        ("finite and of unit length", subject.unit),
        ("alone as in company", subject.alone),
        ("in any order", subject.shuffled),
        ("texts known to overflow", subject.nan_probes),
        ("lengths of 1 to 3,000 words", subject.lengths),
        ("composed as decomposed accents", subject.normal_forms),
        ("shorter vectors are slices", subject.matryoshka),
    ]
    if published is not None:
        gates.insert(0, ("as published", partial(subject.published, published)))
    return [await _asked(name, gate) for name, gate in gates]


async def _fitting(embed: Embed) -> list[str]:
    """The golden texts that are not too long for the model."""
    fitting = []
    for text in GOLDEN_TEXTS:
        with contextlib.suppress(RequestError):
            # A target that fails otherwise says why at the first gate.
            with contextlib.suppress(UpstreamError, DeadlineExceededError):
                await embed([text], None)
            fitting.append(text)
    return fitting or [GOLDEN_TEXTS[0]]


async def _asked(name: str, gate: Callable[[], Awaitable[tuple[bool | None, str]]]) -> Finding:
    try:
        passed, figure = await gate()
    except EmbedwayError as error:
        return Finding(name, passed=False, figure=str(error))
    return Finding(name, passed, figure)


class _Subject:
    """A target under question, and the texts that fit it."""

    def __init__(self, embed: Embed, texts: Sequence[str]) -> None:
        self._ask = embed
        self._texts = texts

    async def _embed(self, texts: Sequence[str], dimensions: int | None) -> Float32Array:
        vectors = await self._ask(texts, dimensions)
        if len(vectors) != len(texts):
            raise UpstreamContractError(f"{len(vectors)} vectors for {len(texts)} texts")
        return vectors

    async def published(self, published: Published) -> tuple[bool, str]:
        vectors = await self._embed(published.texts, None)
        if published.scores is not None:
            known = np.array(published.scores, np.float32)
            scores = vectors[: len(known)] @ vectors[len(known) :].T
            error = float(np.abs(scores - known).max())
            return error <= published.score_tolerance, (
                f"largest error of a score {error:.4f} (at most {published.score_tolerance})"
            )
        return _near(vectors, published.unit_vectors(), _MIN_COSINE_PUBLISHED)

    async def unit(self) -> tuple[bool, str]:
        return _contract(await self._embed(self._texts, None))

    async def alone(self) -> tuple[bool, str]:
        together = await self._embed(self._texts, None)
        alone = np.concatenate([await self._embed([text], None) for text in self._texts])
        return _near(together, alone, _MIN_COSINE)

    async def shuffled(self) -> tuple[bool, str]:
        order = list(range(len(self._texts)))
        random.Random(3).shuffle(order)  # noqa: S311 - an order, not a secret
        straight = await self._embed(self._texts, None)
        shuffled = await self._embed([self._texts[place] for place in order], None)
        return _near(straight[order], shuffled, _MIN_COSINE)

    async def nan_probes(self) -> tuple[bool, str]:
        return _contract(await self._embed(_NAN_PROBES, None))

    async def lengths(self) -> tuple[bool, str]:
        """Each by itself; from some length on the model may refuse, in the caller's terms."""
        longest = 0
        for count in _WORDS:
            try:
                vectors = await self._embed([" ".join(["harbour"] * count)], None)
            except RequestError:
                return longest > 0, f"right up to {longest:,} words, longer ones are refused"
            passed, figure = _contract(vectors)
            if not passed:
                return False, f"{count:,} words: {figure}"
            longest = count
        return True, f"right up to {longest:,} words"

    async def normal_forms(self) -> tuple[bool | None, str]:
        pair = await self._embed(
            ["caf\u00e9 \u00fcber \u30ac", "cafe\u0301 u\u0308ber \u30ab\u3099"], None
        )
        passed, figure = _near(pair[:1], pair[1:], _MIN_COSINE)
        # Whether a tokenizer normalises is the model's own choice; Qwen3's does.
        return (True, figure) if passed else (None, f"{figure}; the tokenizer does not normalise")

    async def matryoshka(self) -> tuple[bool | None, str]:
        full = await self._embed(self._texts[:3], None)
        half = full.shape[1] // 2
        try:
            narrow = await self._embed(self._texts[:3], half)
        except RequestError:
            return None, "not offered"
        cut = full[:, :half] / np.linalg.norm(full[:, :half], axis=1, keepdims=True)
        return _near(narrow, cut, _MIN_COSINE)


def _contract(vectors: Float32Array) -> tuple[bool, str]:
    error = float(np.abs(np.linalg.norm(vectors, axis=1) - 1).max())
    return error <= _MAX_NORM_ERROR, f"largest error of a length {error:.1e}"


def _near(some: Float32Array, others: Float32Array, least: float) -> tuple[bool, str]:
    if some.shape != others.shape:
        return False, f"vectors of {some.shape} where {others.shape} was expected"
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    cosine = float(((some * others).sum(axis=1) / norms).min())
    return cosine >= least, f"least cosine {cosine:.6f} (at least {least})"
