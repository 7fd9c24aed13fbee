"""`embedway trace` and `GET /admin/v1/traces/{id}`."""

import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.cli import main
from router.domain.errors import UpstreamUnavailableError
from router.domain.keys import fingerprint
from router.telemetry.shelf import TraceShelf, find
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings
from tests.support.wire import AUTHORIZATION, call, embed

POOR = {"authorization": "Bearer ew-key-of-one-without-budget"}
SPANS = ["POST /v1/embeddings", "auth", "tokenise", "quota", "cache", "plan"]


@pytest.fixture(scope="module")
def config(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fake targets behind one route, a memory, and a tenant that may ask nothing."""
    folder = tmp_path_factory.mktemp("trace")
    settings = yaml.safe_load(fake_settings(minilm))
    settings["store"] = {
        "url": f"sqlite:///{folder}/embedway.db",
        "state": str(folder / "state"),
        "sync_interval_s": 0.1,
    }
    fake = {"space": "plain-space", "upstream": "fake", "price_usd_per_million_tokens": 3}
    settings["targets"] |= {"first": fake, "second": fake}
    settings["routes"]["pair"] = {"targets": ["first", "second"]}
    settings["tenants"]["poor"] = {
        "keys": [{"name": "poor-key", "sha256": fingerprint(POOR["authorization"][7:])}],
        "quotas": [{"unit": "usd", "limit": 0, "window": "month"}],
    }
    settings["cache"] = {"max_bytes": 1_000_000}
    settings["telemetry"] = {"traces": {"sample_ratio": 0}}
    path = folder / "embedway.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def router(config: Path) -> Iterator[RouterUnderTest]:
    with RouterUnderTest(config.read_text()) as running:
        eventually(lambda: all(map(running.app.fleet.is_up, running.app.fleet.upstreams)))
        yield running


def fallen_back(router: RouterUnderTest, name: str) -> None:
    """A request of that name whose first target is down."""
    router.fake("first").fail_with = UpstreamUnavailableError("down")
    try:
        assert embed(router, {"x-request-id": name}, model="pair", input=name).status == 200
    finally:
        router.fake("first").fail_with = None
        router.recover("first")


def told(router: RouterUnderTest, name: str) -> dict[str, Any]:
    """The admin API's answer, once the ledger has the request too."""
    found: dict[str, Any] = {}

    def is_there() -> bool:
        answer = call(router, "GET", f"/admin/v1/traces/{name}")
        found.update(answer.json if answer.status == 200 else {})
        return bool(found.get("record"))

    eventually(is_there)
    return found


def test_a_fallback_is_told_with_its_money(router: RouterUnderTest) -> None:
    """Spans, attempts and why, and the ledger's record: all under the request's id."""
    fallen_back(router, "falls-back-1")
    found = told(router, "falls-back-1")
    assert [span["name"] for span in found["spans"]] == [
        *SPANS, "plan", "embeddings plain-space", "embeddings plain-space",
    ]  # fmt: skip
    root, *_, again, failed, second = found["spans"]
    assert again["attributes"]["embedway.plan.target"] == "second"
    assert again["attributes"]["embedway.plan.reason"] == "number 2 in the route's order"
    assert (failed["attributes"]["embedway.target"], failed["is_error"]) == ("first", True)
    assert second["attributes"]["embedway.attempt.reason"] == "fallback"
    assert failed["parent_id"] == second["parent_id"] == root["span_id"]
    assert root["attributes"]["embedway.trace.kept"] == "fallback"
    record = found["record"]
    assert (record["target"], record["attempts"], record["status"]) == ("second", 2, "ok")
    assert record["cost_nano_usd"] == root["attributes"]["embedway.cost_nano_usd"] > 0
    assert record["trace_id"] == found["trace_id"]


def test_the_trace_id_finds_it_too(router: RouterUnderTest) -> None:
    """Who has only the trace's id gets the same answer."""
    fallen_back(router, "falls-back-2")
    found = told(router, "falls-back-2")
    assert told(router, found["trace_id"]) == found


def test_what_was_not_kept_is_told_by_the_ledger(router: RouterUnderTest) -> None:
    """A good, unsampled request has no spans, and its money is told all the same."""
    assert embed(router, {"x-request-id": "good-1"}, model="pair", input="good").status == 200
    found = told(router, "good-1")
    assert found["spans"] is None
    assert found["record"]["tokens"] > 0


def test_a_tree_is_printed_by_a_running_router(
    router: RouterUnderTest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--url` asks the admin API with the key of an environment variable."""
    fallen_back(router, "falls-back-3")
    told(router, "falls-back-3")
    monkeypatch.setenv("THE_KEY", KEY)
    assert main(["trace", "falls-back-3", "--url", router.url, "--key-env", "THE_KEY"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("request falls-back-3   trace ")
    assert "testers/test-key on pair: ok, 1 input(s)" in lines[1]
    assert "2 call(s) to second" in lines[1]
    assert "USD" in lines[1]
    tree = lines[2:]
    assert [line.split("  ")[0].lstrip("│├└─ ").strip() for line in tree] == [
        *SPANS, "embeddings plain-space", "plan", "embeddings plain-space",
    ]  # fmt: skip
    assert all(" ms " in line and "█" in line for line in tree)
    assert "outcome=upstream_unavailable" in tree[-3]
    assert "attempt.reason=fallback" in tree[-1]
    assert "misses=1" in tree[4]


def test_files_tell_it_without_a_router(
    config: Path, router: RouterUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--config` reads the same from database and state folder; refusals and causes included."""
    answer = embed(router, POOR | {"x-request-id": "poor-1"}, model="pair", input="poor")
    assert answer.status == 402
    router.run(router.tracer.flush())
    assert main(["trace", "poor-1", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "outcome=budget_exhausted" in printed
    assert "refused_by=tenant:poor:usd:month:hard" in printed
    assert main(["trace", "poor-1", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["request_id"] == "poor-1"


def test_a_cached_answer_says_who_computed_nothing(
    config: Path, router: RouterUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens that nobody had to compute are told, and that no target was asked."""
    embed(router, model="pair", input="remember me")
    embed(router, {"x-request-id": "cached-1"}, model="pair", input="remember me")
    told(router, "cached-1")
    assert main(["trace", "cached-1", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "of them computed by nobody for it" in printed
    assert "0 call(s) to cache" in printed
    assert "was not kept here" in printed


def test_who_is_unknown_is_one_sentence(
    config: Path, router: RouterUnderTest, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An id that nobody knows, no key, and no router each end with 1 and a sentence."""
    monkeypatch.setenv("THE_KEY", KEY)
    url = ["--url", router.url, "--key-env", "THE_KEY"]
    for words in (
        ["nobody", "--config", str(config)],
        ["nobody", *url],
        ["nobody", "--url", router.url, "--key-env", "NOT_SET"],
        ["nobody", "--url", "http://127.0.0.1:1", "--key-env", "THE_KEY"],
        ["nobody", "--url", "nonsense", "--key-env", "THE_KEY"],
    ):
        assert main(["trace", *words]) == 1
        error = capsys.readouterr().err
        assert error.startswith("embedway: ")
        assert len(error.splitlines()) == 1
        assert KEY not in error


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (POOR, 403), (AUTHORIZATION, 404)],
    ids=["none", "other", "admin"],
)
def test_only_administrators_are_told(
    router: RouterUnderTest, headers: dict[str, str], status: int
) -> None:
    """A trace names tenants and targets: other keys are refused before anything is looked up."""
    assert call(router, "GET", "/admin/v1/traces/nobody", headers=headers).status == status


def test_a_shelf_is_bounded(tmp_path: Path) -> None:
    """Two files in turn: the newest traces are there, the oldest went, the size stays."""
    shelf = TraceShelf(tmp_path, 40_000)
    for number in range(500):
        shelf.put(f"r-{number}", f"{number + 1:032x}", b"\x12\x00" * 500)
        shelf.write(shelf.take())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000
    assert len(find(tmp_path, "r-499")) == 1
    assert len(find(tmp_path, "r-490")) == 1
    assert find(tmp_path, "r-0") == []
    shelf.close()


def test_a_shelf_survives_a_torn_record(tmp_path: Path) -> None:
    """A process that died while it wrote loses that record alone."""
    shelf = TraceShelf(tmp_path, 40_000)
    for name in ("whole", "torn"):
        shelf.put(name, "1" * 32, b"\x12\x00")
    shelf.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert len(find(tmp_path, "whole")) == 1
    assert find(tmp_path, "torn") == []


def test_a_full_disk_tears_no_record(tmp_path: Path) -> None:
    """Of a record that found no room nothing stays, so that those behind it are found."""
    shelf = TraceShelf(tmp_path, 40_000_000)
    shelf.put("before", "1" * 32, b"\x12\x00")
    shelf.write(shelf.take())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    shelf.put("large", "2" * 32, b"\x12\x00" * 50_000)
    try:
        # A file may not grow over a limit: part of a write succeeds, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        with pytest.raises(OSError, match="large"):
            shelf.write(shelf.take())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    shelf.put("after", "3" * 32, b"\x12\x00")
    shelf.close()
    assert [len(find(tmp_path, name)) for name in ("before", "large", "after")] == [1, 0, 1]


def test_a_shelf_begins_anew_after_it_could_open_no_file(tmp_path: Path) -> None:
    """Where the next file cannot be made, only what was to go into it is lost."""
    folder = tmp_path / "traces"
    shelf = TraceShelf(folder, 2000)
    shelf.put("before", "1" * 32, b"\x12\x00" * 450)
    shelf.write(shelf.take())
    folder.rename(tmp_path / "away")
    shelf.put("lost", "2" * 32, b"\x12\x00" * 450)
    with pytest.raises(FileNotFoundError):
        shelf.write(shelf.take())
    (tmp_path / "away").rename(folder)
    shelf.put("after", "3" * 32, b"\x12\x00")
    shelf.close()
    kept = {name for name in ("before", "lost", "after") if find(folder, name)}
    assert kept == {"before", "after"}


def test_a_shelf_closes_on_a_full_disk(tmp_path: Path) -> None:
    """What cannot be written at the end is left, and no error ends the shutdown before its time."""
    shelf = TraceShelf(tmp_path, 40_000)
    shelf.put("before", "1" * 32, b"\x12\x00")
    shelf.write(shelf.take())
    shelf.put("last", "2" * 32, b"\x12\x00")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        shelf.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(find(tmp_path, "before")) == 1


def test_files_of_living_processes_stay(tmp_path: Path) -> None:
    """However many workers there are, one that starts forgets nothing of the others."""
    shelves = [TraceShelf(tmp_path, 40_000, living=40) for _ in range(40)]
    for number, shelf in enumerate(shelves):
        shelf.put(f"of-{number}", f"{number + 1:032x}", b"\x12\x00")
        shelf.write(shelf.take())
    TraceShelf(tmp_path, 40_000, living=40).close()
    assert all(find(tmp_path, f"of-{number}") for number in range(40))
    for shelf in shelves:
        shelf.close()


@pytest.mark.parametrize("name", ["", "a b", "../secret", "\udcff", "x" * 129])
def test_what_is_no_id_is_said_so(
    name: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in the place of the id, the answer is a sentence."""
    assert main(["trace", name, "--config", str(config)]) == 1
    assert "that is no id" in capsys.readouterr().err


def test_a_port_that_is_none_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in the address is told as one."""
    monkeypatch.setenv("EMBEDWAY_ADMIN_KEY", KEY)
    assert main(["trace", "one", "--url", "http://localhost:99999"]) == 1
    assert "HOST:PORT" in capsys.readouterr().err


def test_a_disk_that_refuses_stops_no_request(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the shelf cannot be written, requests are answered and the log says so once."""

    def refuse(self: TraceShelf, records: list[bytes]) -> None:
        del self, records
        raise OSError("no space left")

    monkeypatch.setattr(TraceShelf, "write", refuse)
    with RouterUnderTest(config.read_text()) as router:
        eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.upstreams)))
        for number in range(3):
            fallen_back(router, f"full-{number}")
            router.run(router.tracer.flush())
        assert len(router.events("trace_shelf")) == 1
