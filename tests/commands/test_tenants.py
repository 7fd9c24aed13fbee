"""`embedway tenants` and `embedway keys`: straight on the database, beside a running router."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.cli import main
from router.domain.keys import fingerprint
from router.store.engine import open_engine
from router.store.migrate import upgrade
from tests.support.keys import wait_for_store
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import fake_settings
from tests.support.wire import call


@pytest.fixture
def config(minilm: Path, tmp_path: Path, database_url: str) -> Path:
    """A configuration on a new database, upgraded as people do it."""
    engine = open_engine(database_url)
    upgrade(engine)
    engine.dispose()
    path = tmp_path / "embedway.yaml"
    settings = yaml.safe_load(fake_settings(minilm)) | {
        "store": {"url": database_url, "state": str(tmp_path / "state")}
    }
    path.write_text(yaml.safe_dump(settings))
    return path


class Cli:
    """Runs commands on one configuration."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """Status, standard output and standard error."""
        status = main([*words, "--config", str(self._config)])
        streams = self._capsys.readouterr()
        return status, streams.out, streams.err

    def json(self, *words: str) -> Any:
        status, out, err = self.run(*words, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def cli(config: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(config, capsys)


def status(router: RouterUnderTest, value: str) -> int:
    body = b'{"model": "plain", "input": "a"}'
    headers = {"authorization": f"Bearer {value}"}
    return call(router, "POST", "/v1/embeddings", body, headers=headers).status


def test_a_key_from_the_command_line_works_and_ends_in_a_running_router(
    cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, rotated and disabled beside it; the router hears of each at its next question."""
    wait_for_store(monkeypatch)
    with RouterUnderTest(config.read_text()) as router:
        router.up()
        cli.json("tenants", "create", "acme")
        (made,) = cli.json("keys", "create", "acme", "first", "--scope", "embed")
        assert status(router, made["value"]) == 200
        (rotated,) = cli.json("keys", "rotate", "acme", "first", "--grace-s", "0")
        router.hear()
        assert status(router, made["value"]) == 401
        assert status(router, rotated["value"]) == 200
        cli.json("keys", "disable", "acme", "first")
        router.hear()
        assert status(router, rotated["value"]) == 401
        cli.json("keys", "enable", "acme", "first")
        router.hear()
        assert status(router, rotated["value"]) == 200
        cli.json("tenants", "disable", "acme")
        router.hear()
        assert status(router, rotated["value"]) == 401


def test_a_key_is_printed_once_and_never_listed(cli: Cli, config: Path) -> None:
    """For people in a line of its own; what is kept is its hash."""
    cli.run("tenants", "create", "acme", "--tag", "team=search")
    code, out, _ = cli.run(
        "keys", "create", "acme", "first", "--scope", "usage", "--scope", "embed",
        "--expires", "2099-01-31T12:00:00+00:00", "--tag", "for=tests",
    )  # fmt: skip
    assert code == 0
    value = out.rpartition("key (shown once): ")[2].strip()
    assert value.startswith("ew-")
    _, listed, _ = cli.run("keys", "list", "acme")
    assert value not in listed
    for word in ("first", "active", "embed, usage", "for=tests", "2099-01-31 12:00:00Z"):
        assert word in listed
    engine = open_engine(yaml.safe_load(config.read_text())["store"]["url"])
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT sha256 FROM keys").one()
    engine.dispose()
    assert row.sha256 == fingerprint(value)


def test_lists_hold_file_and_store(cli: Cli) -> None:
    """Each with where it comes from."""
    cli.run("tenants", "create", "acme", "--tag", "team=[bold]search")
    listed = cli.json("tenants", "list")
    assert [(item["name"], item["source"]) for item in listed] == [
        ("testers", "file"),
        ("acme", "api"),
    ]
    _, table, _ = cli.run("tenants", "list")
    assert "team=[bold]search" in table
    assert [key["source"] for key in cli.json("keys", "list", "testers")] == ["file"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(["tenants", "create", "testers"], "configuration file", id="declared"),
        pytest.param(["tenants", "disable", "testers"], "configuration file", id="declared tenant"),
        pytest.param(["keys", "disable", "testers", "test-key"], "file", id="declared key"),
        pytest.param(["tenants", "disable", "nobody"], "no tenant nobody", id="unknown tenant"),
        pytest.param(["keys", "list", "nobody"], "no tenant nobody", id="unknown in list"),
        pytest.param(["tenants", "create", "a b"], "name: String should match", id="name"),
        pytest.param(["tenants", "create", "a", "--tag", "b"], "NAME=VALUE", id="tag"),
    ],
)
def test_a_mistake_is_one_sentence(cli: Cli, words: list[str], sentence: str) -> None:
    """On standard error, with status 1."""
    code, out, err = cli.run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("embedway: ")
    assert sentence in err
    assert err.count("\n") == 1
