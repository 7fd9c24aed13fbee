"""Checks, Matryoshka and codecs."""

import base64
import json

import numpy as np
import pytest

from router.domain.errors import DimensionError, UpstreamContractError
from router.domain.types import Space, TokenBatch
from router.vectors.checks import require_contract, require_distinct
from router.vectors.codecs import json_base64, json_floats
from router.vectors.matryoshka import checked_dimension, narrow


def unit(count: int, dimensions: int) -> np.ndarray:
    vectors = np.random.default_rng(count).standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def spoiled(value: float) -> np.ndarray:
    vectors = unit(3, 8)
    vectors[1, 2] = value
    return vectors


@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param(unit(2, 8), id="one missing"),
        pytest.param(unit(4, 8), id="one too many"),
        pytest.param(unit(3, 7), id="too narrow"),
        pytest.param(unit(3, 8)[None], id="another axis"),
        pytest.param(spoiled(float("nan")), id="NaN"),
        pytest.param(spoiled(float("inf")), id="infinite"),
        pytest.param(spoiled(2.0), id="too long"),
        pytest.param(unit(3, 8) * np.float32(0.9), id="too short"),
        pytest.param(np.zeros((3, 8), np.float32), id="zero"),
    ],
)
def test_a_broken_answer_is_an_upstream_failure(vectors: np.ndarray) -> None:
    """Whatever is not n finite unit vectors of the right dimension is refused."""
    with pytest.raises(UpstreamContractError):
        require_contract(vectors, 3, 8)


def test_unit_vectors_pass() -> None:
    """Vectors normalised in float32 or bfloat16 meet the contract."""
    require_contract(unit(3, 8), 3, 8)
    require_contract(unit(3, 8) * np.float32(1.004), 3, 8)


def test_narrow_slices_and_renormalises() -> None:
    """A narrower vector is the beginning of the wide one, brought back to unit length."""
    wide = unit(5, 64)
    cut = narrow(wide, 16)
    assert cut.shape == (5, 16)
    assert cut.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1.0, atol=1e-6)
    expected = wide[:, :16] / np.linalg.norm(wide[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-6)


def test_narrow_to_the_full_width_changes_nothing() -> None:
    """Asking for the native dimension gives the very same vectors."""
    wide = unit(2, 8)
    assert narrow(wide, 8) is wide


def test_narrow_refuses_a_vector_that_begins_with_zeros() -> None:
    """A slice without length cannot be brought to unit length."""
    vectors = np.array([[0, 0, 1, 0]], np.float32)
    with pytest.raises(UpstreamContractError):
        narrow(vectors, 2)


MATRYOSHKA = Space("m", "org/m", dimensions=64, max_tokens=16, matryoshka=(8, 64))
RIGID = Space("r", "org/r", dimensions=64, max_tokens=16)


@pytest.mark.parametrize(
    ("space", "asked", "given"),
    [
        pytest.param(MATRYOSHKA, None, 64, id="nothing asked"),
        pytest.param(MATRYOSHKA, 8, 8, id="lowest"),
        pytest.param(MATRYOSHKA, 64, 64, id="full"),
        pytest.param(RIGID, None, 64, id="rigid, nothing asked"),
        pytest.param(RIGID, 64, 64, id="rigid, full"),
    ],
)
def test_dimensions_that_the_space_has(space: Space, asked: int | None, given: int) -> None:
    """A space gives its own dimension and, where trained for it, those of its range."""
    assert checked_dimension(space, asked) == given


@pytest.mark.parametrize(
    ("space", "asked", "word"),
    [
        pytest.param(MATRYOSHKA, 7, "between 8 and 64", id="below"),
        pytest.param(MATRYOSHKA, 65, "between 8 and 64", id="above"),
        pytest.param(RIGID, 32, "only gives 64", id="rigid"),
    ],
)
def test_dimensions_that_the_space_has_not(space: Space, asked: int, word: str) -> None:
    """Any other dimension is refused with what there is."""
    with pytest.raises(DimensionError, match=word):
        checked_dimension(space, asked)


def test_both_codecs_keep_every_bit() -> None:
    """Float JSON and base64 read back as the same float32 values."""
    vectors = unit(3, 33)
    for row, text, code in zip(vectors, json_floats(vectors), json_base64(vectors), strict=True):
        assert np.array_equal(np.array(json.loads(text), np.float32), row)
        decoded = np.frombuffer(base64.b64decode(json.loads(code)), "<f4")
        assert np.array_equal(decoded, row)


def sequences(*ids: list[int]) -> TokenBatch:
    return TokenBatch(
        np.array([token for one in ids for token in one], "i4"),
        np.array([len(one) for one in ids], "i4"),
    )


def test_one_vector_for_different_inputs_is_refused() -> None:
    """Servers that join or cut their inputs give that; models do not."""
    vectors = unit(3, 8)[[0, 1, 0]]
    with pytest.raises(UpstreamContractError, match="one vector to different inputs"):
        require_distinct(vectors, sequences([1, 2], [3], [2, 1]))


def test_the_same_input_may_have_the_same_vector() -> None:
    """Equal ids, equal vectors; and vectors that only begin alike are different."""
    vectors = unit(3, 8)[[0, 1, 0]]
    require_distinct(vectors, sequences([1, 2], [3], [1, 2]))
    alike = unit(2, 8)
    alike[1, :2] = alike[0, :2]
    require_distinct(alike, sequences([1], [2]))
    require_distinct(unit(1, 8), sequences([1]))
