"""A model is ready only while it answers what it is known to answer."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from canaries import Canaries
from faults import EngineError, ModelLoadError, NotReadyError
from golden import Golden, read_golden
from instance import Instance
from model_card import read_model_card
from router.up.errors import UpError
from settings import Settings
from tests.backend.conftest import cosines
from tests.support.triton import MINILM_NAME, prepare_triton

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "model_repository" / MINILM_NAME
PROBES = [np.array([n, n + 1], np.int32) for n in range(4)]


class FakeModel:
    """Unit vectors that follow from the ids, turned as told."""

    def __init__(self) -> None:
        self.angle = 0.0
        self.angle_in_company = 0.0
        self.fails = False

    def embed(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        if self.fails:
            raise EngineError("the model gave a vector that is zero or not finite")
        company = self.angle_in_company if len(sequences) > 1 else 0.0
        angles = np.array([ids[0] + self.angle + company for ids in sequences])
        return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)


class Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def canaries(model: FakeModel, clock: Time, golden: Golden | None = None) -> Canaries:
    known = None if golden is None else (golden, PROBES)
    return Canaries(model.embed, PROBES, known, 0.999, 60, clock, lambda _: None)


def test_a_right_model_is_ready() -> None:
    """Nothing is ready before it was asked, and a model that agrees with everything is then."""
    model = FakeModel()
    golden = Golden(["a", "b", "c", "d"], model.embed(PROBES))
    watched = canaries(model, Time(), golden)
    assert watched.fault is not None
    watched.ask()
    assert watched.fault is None


def test_company_must_not_change_a_vector() -> None:
    """A model whose vectors depend on their batch mates is not ready."""
    model = FakeModel()
    model.angle_in_company = 0.1
    watched = canaries(model, Time())
    watched.ask()
    assert "among others and alone differ" in str(watched.fault)


def test_golden_vectors_and_scores_are_held_against_the_answers() -> None:
    """Another model's vectors or scores are found, with the figure."""
    other = FakeModel()
    other.angle = 0.2
    vectors = other.embed(PROBES)
    for golden, words in (
        (Golden(["t"] * 4, vectors=vectors), "a golden vector is met with cosine 0.98"),
        (Golden(["t"] * 4, vectors=np.ones((4, 3), np.float32)), "golden vectors are (4, 3)"),
        (Golden(["t"] * 4, scores=np.zeros((1, 3), np.float32)), "a published score is missed"),
    ):
        watched = canaries(FakeModel(), Time(), golden)
        watched.ask()
        assert words in str(watched.fault)


def test_drift_is_found_and_so_is_its_end() -> None:
    """Vectors that leave those of the start make the model not ready until they are back."""
    model, clock = FakeModel(), Time()
    watched = canaries(model, clock)
    watched.ask()
    model.angle = 0.3
    watched.keep()
    assert watched.fault is None
    clock.now_s = 61.0
    watched.keep()
    assert "drifted since the start: cosine 0.95" in str(watched.fault)
    model.angle, clock.now_s = 0.0, 200.0
    watched.keep()
    assert watched.fault is None


def test_a_model_that_fails_is_not_ready() -> None:
    """NaN on a probe, or any other failure, is a fault with its reason."""
    model = FakeModel()
    model.fails = True
    watched = canaries(model, Time())
    watched.ask()
    assert "not finite" in str(watched.fault)


def test_the_published_golden_vectors_are_the_reference_s(minilm: Path) -> None:
    """model_repository's golden vectors of the demo model are sentence-transformers' own."""
    golden = read_golden(PUBLISHED)
    assert golden is not None
    assert golden.vectors is not None
    expected = SentenceTransformer(str(minilm), device="cpu").encode(golden.texts)
    assert cosines(golden.vectors, expected).min() > 0.99999


def test_the_published_scores_can_be_read() -> None:
    """Scores of Qwen3-Embedding-0.6B's card: two queries against two documents."""
    golden = read_golden(ROOT / "model_repository/qwen3_embedding_0_6b")
    assert golden is not None
    assert golden.scores is not None
    assert golden.scores.shape == (2, 2)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"texts": ["a"]},
        {"texts": ["a"], "vectors": "?"},
        {"texts": ["a"], "scores": [[1], [2]]},
    ],
    ids=["empty", "texts alone", "not base64", "too many scores"],
)
def test_a_damaged_file_of_golden_vectors_is_refused(tmp_path: Path, content: object) -> None:
    """A golden.json without meaning is a load error and never passed over."""
    (tmp_path / "golden.json").write_text(json.dumps(content) or "{}")
    if content == {}:
        (tmp_path / "golden.json").write_text('{"source": "nobody"}')
    with pytest.raises(ModelLoadError, match="golden"):
        read_golden(tmp_path)


def test_an_instance_stops_answering_when_its_model_drifts(qwen3_folder: Path) -> None:
    """Within its interval an instance notices broken weights, and refuses with the reason."""
    settings = Settings(str(qwen3_folder), None, 512, "float32", "cpu", 128, 0.05)
    instance = Instance(read_model_card(qwen3_folder), settings, qwen3_folder, lambda _: None)
    try:
        instance.require_ready()
        instance._engine.encoder._weights.final_norm.fill_(float("nan"))  # type: ignore[attr-defined]
        patience_s = time.monotonic() + 60
        while instance.fault is None and time.monotonic() < patience_s:
            time.sleep(0.02)
        with pytest.raises(NotReadyError, match="the model is not ready: the model gave a vector"):
            instance.require_ready()
    finally:
        instance.close()


async def test_other_weights_than_the_golden_ones_do_not_load(minilm: Path, tmp_path: Path) -> None:
    """Triton does not load a model whose vectors are not those beside its configuration."""
    triton = await prepare_triton(tmp_path / "embedway-test", {MINILM_NAME: (minilm, MINILM_NAME)})
    path = tmp_path / "embedway-test" / "models" / MINILM_NAME / "golden.json"
    content = json.loads(path.read_text())
    content["texts"].reverse()
    path.write_text(json.dumps(content))
    triton.start()
    try:
        with pytest.raises(UpError, match="not ready: a golden vector is met with cosine"):
            await triton.wait_ready([MINILM_NAME], timeout_s=90)
    finally:
        await triton.stop()
        shutil.rmtree(tmp_path / "embedway-test")
