"""`embedway db` and `embedway quotas`, on both databases."""

import json
from pathlib import Path

import pytest
import yaml

from router.cli import main
from tests.support.settings import fake_settings


@pytest.fixture
def config(minilm: Path, tmp_path: Path, database_url: str) -> Path:
    path = tmp_path / "embedway.yaml"
    settings = yaml.safe_load(fake_settings(minilm)) | {"store": {"url": database_url}}
    quota = {"unit": "tokens", "limit": 1_000_000, "window": "day", "mode": "soft"}
    settings["routes"]["plain"]["quotas"] = [quota]
    path.write_text(yaml.safe_dump(settings))
    return path


def run(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main([*words, "--config", str(config)])
    streams = capsys.readouterr()
    return status, streams.out, streams.err


def test_the_schema_is_upgraded_by_a_command(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once is enough, twice does no harm; a server without it is refused with the way out."""
    if "postgresql" in config.read_text():
        status, _, error = run(config, capsys, "tenants", "list")
        assert (status, "embedway db upgrade" in error) == (1, True)
    for _ in range(2):
        status, out, _ = run(config, capsys, "db", "upgrade")
        assert (status, "revision 000" in out) == (0, True)
    assert run(config, capsys, "tenants", "list")[0] == 0


def test_quotas_are_set_listed_and_removed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the file stand beside them and stay."""
    run(config, capsys, "db", "upgrade")
    words = ("quotas", "set", "tenant", "testers", "usd", "12.5", "month")
    status, out, _ = run(config, capsys, *words, "--json")
    (made,) = json.loads(out)
    assert (status, made["limit_amount"]) == (0, 12_500_000_000)
    _, table, _ = run(config, capsys, "quotas", "list")
    for word in ("1,000,000", "12.5", "file", "soft", made["id"]):
        assert word in table
    assert run(config, capsys, "quotas", "remove", made["id"])[0] == 0
    status, _, error = run(config, capsys, "quotas", "remove", made["id"])
    assert (status, error) == (1, "embedway: there is no quota of that id\n")
    status, _, error = run(
        config, capsys, "quotas", "set", "route", "plain", "tokens", "5", "day", "--mode", "soft"
    )
    assert (status, "configuration file" in error) == (1, True)
    status, _, error = run(
        config, capsys, "quotas", "set", "route", "plain", "tokens", "0.5", "day"
    )
    assert (status, "whole number" in error) == (1, True)
