"""`embedway verify --url`: any running server against the gates, with a verdict."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from router.cli import main
from router.domain.errors import ConfigurationError, RequestError
from router.domain.types import Caller, EmbeddingRequest, EmbeddingResult
from router.tools.gates import Finding, hold_against_gates
from router.tools.published import Published, read_published
from router.up.assets import published_golden
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import KEY
from tests.support.triton import MINILM_NAME, SharedTriton


class FakeModel:
    """Unit vectors from the letters of a text, wrong in the one way that it is told."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong

    async def embed(self, texts: Sequence[str], dimensions: int | None) -> np.ndarray:
        if self.wrong == "refuses long" and max(map(len, texts)) > 20_000:
            raise RequestError("too long")
        if dimensions is not None and self.wrong == "no matryoshka":
            raise RequestError("not offered")
        rows = np.stack([self._row(text, place) for place, text in enumerate(texts)])
        if dimensions is not None:
            rows = rows[:, :dimensions] if self.wrong != "tail" else rows[:, -dimensions:]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        if self.wrong == "length":
            rows *= 1.1
        return np.asarray(rows[:-1] if self.wrong == "count" else rows, np.float32)

    def _row(self, text: str, place: int) -> np.ndarray:
        if self.wrong == "nan" and text.startswith("import"):
            return np.full(64, np.nan)
        seed = sum(map(ord, text)) + (place if self.wrong == "order" else 0)
        return np.random.default_rng(seed).standard_normal(64)


async def findings(wrong: str, published: Published | None = None) -> dict[str, Finding]:
    found = await hold_against_gates(FakeModel(wrong).embed, published)
    return {finding.gate: finding for finding in found}


async def test_a_right_model_passes_every_gate() -> None:
    """Nothing is failed, and accents that the tokenizer keeps apart are not judged."""
    found = await findings("")
    assert not [one for one in found.values() if one.passed is False]
    assert found["composed as decomposed accents"].passed is None


@pytest.mark.parametrize(
    ("wrong", "gate"),
    [
        ("length", "finite and of unit length"),
        ("count", "finite and of unit length"),
        ("order", "alone as in company"),
        ("order", "in any order"),
        ("nan", "texts known to overflow"),
        ("tail", "shorter vectors are slices"),
    ],
)
async def test_each_wrong_fails_its_gate(wrong: str, gate: str) -> None:
    """A model that is wrong in one way fails the gate that is about it."""
    assert (await findings(wrong))[gate].passed is False


async def test_what_is_not_offered_is_not_judged() -> None:
    """A server without shorter vectors, or with a limit of length, has not failed."""
    assert (await findings("no matryoshka"))["shorter vectors are slices"].passed is None
    lengths = (await findings("refuses long"))["lengths of 1 to 3,000 words"]
    assert lengths.passed is True
    assert "longer ones are refused" in lengths.figure


async def test_published_scores_decide() -> None:
    """Scores that the model does not give are a failed gate, with the error."""
    published = Published(texts=["a", "b", "c"], scores=[[0.9, -0.9]])
    assert (await findings("", published))["as published"].passed is False


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["verify", *arguments])
    output = capsys.readouterr()
    return status, output.out + output.err


def test_the_router_passes_over_http(
    triton_router: RouterUnderTest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The demo model through router and Triton passes, its published vectors included."""
    monkeypatch.setenv("THE_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "160")
    url = f"http://127.0.0.1:{triton_router.app.http.port}/v1"
    golden = str(published_golden("all-minilm-l6-v2"))
    named = ("--url", url, "--model", "minilm", "--key-env", "THE_KEY", "--golden", golden)
    status, output = run(capsys, *named)
    assert status == 0, output
    assert "passed every gate" in output
    assert next(line for line in output.splitlines() if line.startswith("as published"))
    assert "FAILED" not in output


def test_the_memory_does_not_answer_for_the_model(
    router: RouterUnderTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A router that remembers is asked to compute each vector anew."""
    monkeypatch.setenv("THE_KEY", KEY)
    asked: list[bool] = []
    embed = router.app.service.embed

    async def watched(request: EmbeddingRequest, caller: Caller) -> EmbeddingResult:
        asked.append(request.cache)
        return await embed(request, caller)

    monkeypatch.setattr(router.app.service, "embed", watched)
    url = f"http://127.0.0.1:{router.app.http.port}/v1"
    run(capsys, "--url", url, "--model", "plain", "--key-env", "THE_KEY")
    assert len(asked) > 20
    # A text that is too long is asked for twice, the second time as any server would be.
    assert sum(asked) < len(asked) / 4


def test_a_triton_passes_over_grpc(
    triton: SharedTriton, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo model on Triton itself passes, in text."""
    monkeypatch.setenv("COLUMNS", "160")
    url = f"grpc://127.0.0.1:{triton.process.ports.grpc}"
    status, output = run(capsys, "--url", url, "--model", MINILM_NAME)
    assert status == 0, output
    assert "passed every gate" in output


def test_another_model_s_vectors_fail(
    triton: SharedTriton, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Golden vectors of other texts are missed, the verdict says so, and the status is 1."""
    path = published_golden("sentence-transformers/all-MiniLM-L6-v2")
    assert path is not None
    content = json.loads(path.read_text())
    content["texts"].reverse()
    other = tmp_path / "golden.json"
    other.write_text(json.dumps(content))
    url = f"grpc://127.0.0.1:{triton.process.ports.grpc}"
    status, output = run(capsys, "--url", url, "--model", MINILM_NAME, "--golden", str(other))
    assert status == 1
    assert "failed 1 of" in output


def test_a_server_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Every gate says why it could not be asked."""
    status, output = run(capsys, "--url", "http://127.0.0.1:1/v1", "--model", "any")
    assert status == 1
    assert "connection to the target failed" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "ftp://x", "--model", "m"], "give http(s)://HOST/v1"),
        (["--url", "http://x/v1"], "--url needs --model"),
        (["--url", "http://x/v1", "--model", "m", "--key-env", "NOBODY_SET_IT"], "is not set"),
    ],
    ids=["scheme", "no model", "no key"],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """An address or a setting that makes no sense is told at once."""
    status, output = run(capsys, *arguments)
    assert status == 1
    assert message in output


@pytest.mark.parametrize("content", ["", "{}", '{"texts": ["a"]}', '{"texts": []}'])
def test_a_damaged_golden_file_is_told(tmp_path: Path, content: str) -> None:
    """A file without meaning is a configuration error that names it."""
    (tmp_path / "golden.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"golden\.json"):
        read_published(tmp_path / "golden.json")
