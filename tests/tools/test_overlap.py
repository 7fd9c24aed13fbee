"""`embedway overlap`: two routes of a running router, by what each finds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.cli import main
from router.domain.keys import fingerprint
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, triton_settings
from tests.support.triton import SharedTriton

SECRET = "zanzibar"
MOVED_KEY = "ew-key-of-a-tenant-that-has-moved"
TOPICS = ["music", "rivers", "bread", "engines", "law", "stars", "tea", "chess", "bones", "glass"]
WORDS = ["old", "new", "how", "why", "cheap", "famous", "broken", "small", "lost", "northern"]
DOCUMENTS = [f"{word} {topic} and what became of it" for topic in TOPICS for word in WORDS]


@pytest.fixture(scope="module")
def router(minilm: Path, triton: SharedTriton) -> Iterator[RouterUnderTest]:
    """The demo model in two spaces, and made-up vectors in a third."""
    content = yaml.safe_load(triton_settings(minilm, triton.process.ports.grpc))
    space = content["spaces"]["minilm-space"]
    content["spaces"] |= {"twin-space": dict(space), "other-space": dict(space)}
    target = content["targets"]["packed-target"]
    content["targets"] |= {
        "twin-target": {**target, "space": "twin-space"},
        "other-target": {"space": "other-space", "upstream": "fake"},
    }
    for name in ("twin", "other"):
        content["routes"][name] = {"targets": [f"{name}-target"]}
    content["tenants"]["moved"] = {
        "keys": [{"name": "k", "sha256": fingerprint(MOVED_KEY)}], "pins": {"minilm": "twin"},
    }  # fmt: skip
    with RouterUnderTest(yaml.safe_dump(content)) as made:
        # The router is ready as soon as one of its routes is.
        eventually(lambda: all(map(made.app.fleet.is_up, made.app.fleet.upstreams)))
        yield made


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A hundred documents, one of them twice, and ten queries, one of which is a secret."""
    documents, queries = tmp_path / "documents.jsonl", tmp_path / "queries.txt"
    lines = [json.dumps({"text": text}) for text in [*DOCUMENTS, DOCUMENTS[0]]]
    documents.write_text("\n".join(lines))
    queries.write_text("\n".join([f"about {topic}" for topic in TOPICS[1:]] + [SECRET]))
    return {"documents": documents, "queries": queries, "json": tmp_path / "figures.json"}


def run(
    capsys: pytest.CaptureFixture[str], router: RouterUnderTest, *arguments: str, **files: Path
) -> tuple[int, str]:
    named = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    url = f"{router.url}/v1"
    status = main(["overlap", "--url", url, "--key-env", "K", "--k", "5", *named, *arguments])
    output = capsys.readouterr()
    return status, output.out + output.err


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", KEY)
    monkeypatch.setenv("COLUMNS", "200")


def figures(files: dict[str, Path]) -> dict[str, Any]:
    return dict(json.loads(files["json"].read_text()))


def test_the_same_model_in_two_spaces_finds_the_same(
    router: RouterUnderTest, capsys: pytest.CaptureFixture[str], files: dict[str, Path]
) -> None:
    """Recall 1, over documents that are counted once."""
    pair = ("--model", "minilm", "--other", "twin", "--at-least", "1")
    status, output = run(capsys, router, *pair, **files)
    assert status == 0, output
    found = figures(files)
    assert (found["recall"], found["recall_p10"]) == (1.0, 1.0)
    assert found["rank_agreement"] == 1.0
    assert (found["documents"], found["queries"]) == (100, 10)
    assert found["spaces"] == ["minilm-space", "twin-space"]


def test_vectors_without_meaning_find_little(
    router: RouterUnderTest, capsys: pytest.CaptureFixture[str], files: dict[str, Path]
) -> None:
    """Recall near chance, a status of 1, and the worst queries by number and never in words."""
    pair = ("--model", "minilm", "--other", "other", "--at-least", "0.5")
    status, output = run(capsys, router, *pair, **files)
    assert status == 1
    found = figures(files)
    assert found["recall"] < 0.25
    assert found["by_chance"] == 0.05
    assert "worst queries, by number" in output
    written = output + files["json"].read_text() + router.log.decode()
    assert SECRET not in written
    assert "became of it" not in written
    assert KEY not in written


def test_a_tenant_that_has_moved_cannot_measure(
    router: RouterUnderTest,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both routes answer it in one space, which would look like perfect agreement."""
    monkeypatch.setenv("K", MOVED_KEY)
    pair = ("--model", "minilm", "--other", "twin")
    status, output = run(capsys, router, *pair, **files)
    assert status == 1
    assert "both routes answer in the space twin-space" in output
    status, output = run(capsys, router, *pair, "--space", "minilm-space", **files)
    assert status == 1
    assert "refused with 409" in output
    assert not files["json"].exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": 5}\n', "line 1 is no string"),
        (f'"a"\n{{"{SECRET}": 1}}\n', "line 2 is no string"),
        ('"a"\n"b"\n', "2 different documents say little"),
        ("\n", "0 different documents"),
    ],
    ids=["number", "another field", "too few", "none"],
)
def test_files_that_say_nothing_are_told(
    router: RouterUnderTest,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, Path],
    content: str,
    message: str,
) -> None:
    """By the file and the line, and without a word of it."""
    files["documents"].write_text(content)
    status, output = run(capsys, router, "--model", "minilm", "--other", "twin", **files)
    assert status == 1
    assert message in output
    assert SECRET not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nobody", "--other", "twin"], "refused with 404 model_not_found"),
        (["--model", "minilm", "--other", "twin", "--k", "0"], "--k lies within"),
        (["--model", "minilm", "--other", "twin", "--key-env", "NOBODY_SET_IT"], "is not set"),
    ],
    ids=["no route", "no place", "no key"],
)
def test_mistakes_are_one_sentence(
    router: RouterUnderTest,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, Path],
    arguments: list[str],
    message: str,
) -> None:
    """Nothing is measured, and the sentence says why."""
    status, output = run(capsys, router, *arguments, **files)
    assert status == 1
    assert message in output
