"""`GET /admin/v1/targets` and `embedway compare --of`: what targets did with real requests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.chaos.local_provider import API_KEY, LocalProvider
from router.cli import main
from tests.support.provider_thread import providers
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, SCOPES, provider_settings
from tests.support.wire import call, embed

KINDS = ("qwen", "together")


@pytest.fixture
def scene(
    minilm: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[RouterUnderTest, dict[str, LocalProvider]]]:
    """A router in front of two providers, verified; every request is computed."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("ADMIN_KEY", KEY)
    with providers(*KINDS) as made:
        urls = {kind: provider.url for kind, provider in zip(KINDS, made, strict=True)}
        settings = provider_settings(minilm, urls, cache={"max_bytes": 0, "share_in_flight": False})
        settings["tenants"]["testers"]["keys"][0]["scopes"] = SCOPES
        settings["targets"]["qwen"]["price_usd_per_million_tokens"] = 0.05
        settings["routes"]["second"] = {"targets": ["together"]}
        with RouterUnderTest(yaml.safe_dump(settings), {"PROVIDER_KEY": API_KEY}) as router:
            eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.upstreams)))
            yield router, dict(zip(KINDS, made, strict=True))


Scene = tuple[RouterUnderTest, dict[str, LocalProvider]]


def targets(router: RouterUnderTest, query: str = "") -> dict[str, dict[str, Any]]:
    answer = call(router, "GET", f"/admin/v1/targets{query}")
    assert answer.status == 200, answer.body
    return {row["name"]: row for row in answer.json["data"]}


def test_what_targets_did_is_told(scene: Scene) -> None:
    """Calls, tokens, latency, availability, price and agreement, by window."""
    router, _ = scene
    tokens = 0
    for number in range(12):
        tokens += embed(router, model="mixed", input=f"text {number}").json["usage"][
            "prompt_tokens"
        ]
    told = targets(router)
    assert sorted(told) == ["qwen", "together"]
    qwen = told["qwen"]
    assert (qwen["standing"], qwen["obstacle"], qwen["routes"]) == ("verified", None, ["mixed"])
    assert qwen["price_usd_per_million_tokens"] == 0.05
    assert qwen["least_cosine"] > 0.999
    for window, minutes in zip(qwen["windows"], (5, 60), strict=True):
        assert window["minutes"] == minutes
        assert (window["calls"], window["tokens"], window["available"]) == (12, tokens, 1.0)
        assert 0 < window["p50_ms"] <= window["p99_ms"]
        assert window["tokens_per_s"] > 0
    assert told["together"]["windows"][0]["calls"] == 0
    assert told["together"]["routes"] == ["mixed", "second"]


def test_failures_are_told_by_their_code(scene: Scene) -> None:
    """They are part of availability."""
    router, made = scene
    made["qwen"].model = "other"
    assert embed(router, model="mixed", input="text").status == 200
    qwen = targets(router)["qwen"]
    assert qwen["windows"][0]["failures"] == {"upstream_space": 1}
    assert qwen["windows"][0]["available"] == 0.0
    assert (qwen["standing"], qwen["obstacle"]) == ("quarantined", "quarantined")


def test_targets_come_in_pages(scene: Scene) -> None:
    """As everything that administrators list."""
    router, _ = scene
    answer = call(router, "GET", "/admin/v1/targets?limit=1").json
    assert ([row["name"] for row in answer["data"]], answer["has_more"]) == (["qwen"], True)
    assert list(targets(router, "?after=qwen")) == ["together"]
    assert call(router, "GET", "/admin/v1/targets?minutes=3").status == 400


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = main(["compare", *map(str, arguments)])
    output = capsys.readouterr()
    return status, output.out + output.err


def test_compare_prints_the_table_of_a_running_router(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """The columns of the live comparison, without a call to any target."""
    router, made = scene
    for number in range(12):
        embed(router, model="mixed", input=f"text {number}")
    calls = sum(one.calls for one in made.values())
    status, output = run(capsys, "--of", router.url, "--key-env", "ADMIN_KEY")
    assert status == 0
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.split()}
    assert rows["qwen"][1] == "0.05"
    assert 0 < float(rows["qwen"][2]) <= float(rows["qwen"][3])
    assert rows["qwen"][5:7] == ["100.00", "%"]
    assert float(rows["qwen"][7]) > 0.999
    assert rows["together"][1:6] == ["?", "-", "-", "-", "-"]
    assert sum(one.calls for one in made.values()) == calls
    assert KEY not in output


def test_compare_of_one_route(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Its targets only; a route that is not there is one sentence."""
    command = ("--of", scene[0].url, "--key-env", "ADMIN_KEY", "--minutes", 5, "--model")
    status, output = run(capsys, *command, "second")
    assert (status, "together" in output, "qwen" in output) == (0, True, False)
    status, output = run(capsys, *command, "nobody")
    assert (status, "there is no route 'nobody'" in output) == (1, True)


def test_compare_says_who_is_not_called(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason, and exit code 1."""
    router, made = scene
    made["qwen"].model = "other"
    embed(router, model="mixed", input="text")
    status, output = run(capsys, "--of", router.url, "--key-env", "ADMIN_KEY")
    assert status == 1
    assert "qwen: quarantined" in output
    assert "0.00 % (upstream_space)" in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["--of", "URL"], "needs --key-env", id="no key"),
        pytest.param(["--of", "URL", "--key-env", "WRONG"], "the router answers 401", id="wrong"),
        pytest.param(["--of", "ftp://x", "--key-env", "WRONG"], "give http", id="address"),
        pytest.param(
            ["--of", "http://127.0.0.1:1", "--key-env", "WRONG"], "cannot be asked", id="down"
        ),
    ],
)
def test_what_does_not_work_is_one_sentence(
    scene: Scene,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    """Without the key in it."""
    monkeypatch.setenv("WRONG", "a-wrong-key-of-nobody")
    asked = [scene[0].url if word == "URL" else word for word in arguments]
    status, output = run(capsys, *asked)
    assert status == 1
    assert sentence in output
    assert output.count("\n") == 1
    assert "a-wrong-key" not in output
