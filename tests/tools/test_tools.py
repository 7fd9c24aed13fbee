"""`embedway verify`, `explain` and `compare`, as a person runs them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.chaos.local_provider import API_KEY, LocalProvider
from router.cli import main
from tests.support.provider_thread import providers
from tests.support.settings import provider_settings

KINDS = ("qwen", "together")


@pytest.fixture
def scene(minilm: Path, tmp_path: Path, monkeypatch: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A configuration file and the providers that it names."""
    monkeypatch.setenv("PROVIDER_KEY", API_KEY)
    monkeypatch.setenv("COLUMNS", "200")
    with providers(*KINDS) as made:
        settings = provider_settings(
            minilm, {one: p.url for one, p in zip(KINDS, made, strict=True)}
        )
        settings["targets"]["qwen"]["price_usd_per_million_tokens"] = 0.05
        settings["targets"]["together"]["price_usd_per_million_tokens"] = 0.02
        settings["routes"]["mixed"] |= {
            "strategy": "cheapest",
            "rules": [
                {
                    "name": "night",
                    "when": {"from_time": "22:00", "to_time": "06:00"},
                    "strategy": "priority",
                },
                {"name": "russian", "when": {"scripts": ["cyrillic"]}, "targets": ["qwen"]},
                {"name": "finnish", "when": {"languages": ["fi"]}, "targets": ["qwen"]},
            ],
        }
        path = tmp_path / "router.yaml"
        path.write_text(yaml.safe_dump(settings))
        yield path, dict(zip(KINDS, made, strict=True))


Scene = tuple[Path, dict[str, LocalProvider]]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out + output.err


def test_verify_tells_of_every_target(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """The reference defines the space; the other was compared with it."""
    status, output = run(capsys, "verify", "--config", scene[0])
    assert status == 0
    lines = output.splitlines()
    assert "verified (the reference)" in next(line for line in lines if "qwen" in line)
    assert "1.00000" in next(line for line in lines if "together" in line)


def test_verify_fails_where_a_target_is_of_another_space(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the figure that gives it away."""
    scene[1]["together"].model = "other"
    status, output = run(capsys, "verify", "--config", scene[0])
    assert status == 1
    assert "quarantined: cosine" in output


def test_verify_against_a_file(
    scene: Scene, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What was written on a good day finds a reference that has changed since."""
    path, made = scene
    written = tmp_path / "mixed.npz"
    status, output = run(
        capsys, "verify", "--config", path, "--space", "mixed-space", "--write", written
    )
    assert (status, "written" in output) == (0, True)
    settings = yaml.safe_load(path.read_text())
    settings["spaces"]["mixed-space"]["verification"] = {"reference_file": str(written)}
    path.write_text(yaml.safe_dump(settings))
    assert run(capsys, "verify", "--config", path)[0] == 0
    made["qwen"].model = "other"
    status, output = run(capsys, "verify", "--config", path)
    assert status == 1
    assert "quarantined" in next(line for line in output.splitlines() if "qwen" in line)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        pytest.param(
            ["--time", "12:00"],
            [
                "mixed: rule default",
                "1. together: 0.02 USD per million tokens",
                "2. qwen: 0.05 USD per million tokens",
            ],
            id="cheapest",
        ),
        pytest.param(
            ["--time", "23:30"],
            ["mixed: rule night", "1. qwen: number 1 in the route's order"],
            id="night",
        ),
        pytest.param(
            ["--time", "12:00", "--text", "Гавань"],
            ["mixed: rule russian", "1. qwen: 0.05 USD"],
            id="script",
        ),
        pytest.param(
            ["--time", "12:00", "--text", "Laiva lähti satamasta aamunkoitteessa."],
            ["mixed: rule finnish", "1. qwen: 0.05 USD"],
            id="language",
        ),
        pytest.param(
            ["--time", "12:00", "--text", "Das Schiff verließ den Hafen."],
            ["mixed: rule default", "1. together: 0.02 USD"],
            id="another language",
        ),
    ],
)
def test_explain_gives_the_order_and_the_reasons(
    scene: Scene, capsys: pytest.CaptureFixture[str], arguments: list[str], lines: list[str]
) -> None:
    """Without a call to anybody."""
    path, made = scene
    status, output = run(capsys, "explain", "--config", path, "--model", "mixed", *arguments)
    assert status == 0
    for line in lines:
        assert line in output
    assert sum(one.calls for one in made.values()) == 0


def test_explain_live_asks_the_targets(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is not of the space is left out, and why."""
    path, made = scene
    made["together"].model = "other"
    command = ("explain", "--config", path, "--model", "mixed", "--time", "12:00", "--live")
    status, output = run(capsys, *command)
    assert status == 0
    assert "1. qwen" in output
    assert "together: quarantined" in output


def test_compare_measures_every_target(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Price, latency, rate, availability and agreement in one table."""
    path, made = scene
    command = ("compare", "--config", path, "--model", "mixed", "--seconds", 2)
    status, output = run(capsys, *command)
    assert status == 0
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.split()}
    assert rows["together"][1] == "0.02"
    assert float(rows["qwen"][2]) > 0
    assert rows["qwen"][5:7] == ["100.00", "%"]
    assert float(rows["together"][7]) > 0.999
    assert made["qwen"].calls > 5


def test_compare_says_who_does_not_answer(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """With the code of the failure."""
    monkeypatch.setenv("PROVIDER_KEY", "a-wrong-key")
    command = ("compare", "--config", scene[0], "--model", "mixed", "--seconds", 1)
    status, output = run(capsys, *command)
    assert status == 1
    assert "0.00 % (upstream_unavailable)" in output
    assert "a-wrong-key" not in output


def test_an_unknown_route_is_one_sentence(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """And the names that there are."""
    status, output = run(capsys, "explain", "--config", scene[0], "--model", "nobody")
    assert (status, "there are mixed" in output) == (1, True)
