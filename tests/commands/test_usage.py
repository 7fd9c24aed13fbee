"""`embedway usage`, `embedway db upgrade` and `GET /admin/v1/usage`."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.cli import main
from router.domain.keys import fingerprint
from router.store.engine import open_engine
from router.store.ledger import Ledger
from tests.store.records import record
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import fake_settings
from tests.support.wire import AUTHORIZATION, Answer, call

DAY_S = 1_699_920_000  # 2023-11-14
SPAN = ("--since", "2023-11-14", "--until", "2023-11-15")
OWN = {"authorization": "Bearer ew-key-that-reads-its-own-usage"}


@pytest.fixture(scope="module")
def config(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose database holds the usage of two tenants on one day."""
    folder = tmp_path_factory.mktemp("usage")
    url = f"sqlite:///{folder}/embedway.db"
    settings = yaml.safe_load(fake_settings(minilm))
    # Or a router that starts forgets the hours of long ago, which other tests look at.
    kept = dict.fromkeys(("usage_days", "hourly_days", "daily_days"), 100_000)
    settings["store"] = {"url": url, "state": str(folder / "state"), **kept}
    reader = {"name": "r", "sha256": fingerprint(OWN["authorization"][7:]), "scopes": ["usage"]}
    settings["tenants"]["zenith"] = {"keys": [reader]}
    path = folder / "embedway.yaml"
    path.write_text(yaml.safe_dump(settings))
    assert main(["db", "upgrade", "--config", str(path)]) == 0
    engine = open_engine(url)
    records = [
        record("1", time_s=DAY_S + 10.0),
        record("2", time_s=DAY_S + 3700.0),
        record("3", time_s=DAY_S + 20.0, tenant="zenith", key_name="=cmd()", cost_nano_usd=None),
    ]
    Ledger(engine).write("h", 0, 10, records, float(DAY_S))
    engine.dispose()
    return path


@pytest.fixture(scope="module")
def router(config: Path) -> Iterator[RouterUnderTest]:
    """A router on that configuration."""
    with RouterUnderTest(config.read_text()) as one:
        yield one


def report(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["usage", "--config", str(config), *SPAN, *words]) == 0
    return capsys.readouterr().out


def test_db_upgrade_says_where_the_database_is(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be run again at any time."""
    assert main(["db", "upgrade", "--config", str(config)]) == 0
    assert capsys.readouterr().out.startswith("the database is at revision 0")


def test_usage_as_csv_where_nobody_watches(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line of names, then a line a group, dearest first; costs exact."""
    rows = list(csv.DictReader(report(config, capsys).splitlines()))
    assert rows[0] == {
        "tenant": "acme", "requests": "2", "inputs": "2", "tokens": "6", "cost_usd": "0.00000012",
        "unpriced": "0", "cached_tokens": "0", "attempts": "2", "mean_latency_ms": "2",
    }  # fmt: skip
    assert (rows[1]["tenant"], rows[1]["unpriced"]) == ("zenith", "1")


def test_no_name_becomes_a_formula_in_a_spreadsheet(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that begins like one is quoted in CSV, and as it is in JSON."""
    only = ("--by", "key", "--only", "tenant=zenith")
    assert "\n'=cmd()," in report(config, capsys, *only)
    assert json.loads(report(config, capsys, *only, "--format", "json"))[0]["key"] == "=cmd()"


def test_usage_as_a_table_for_people(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every group with its figures."""
    table = report(config, capsys, "--by", "hour", "--format", "table")
    assert "2023-11-14T00:00Z" in table
    assert "2023-11-14T01:00Z" in table


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(("--by", "colour"), "by takes some of", id="dimension"),
        pytest.param(("--only", "colour=red"), "no part of a report", id="name"),
        pytest.param(("--until", "yesterday"), "until must be a time", id="time"),
        pytest.param(("--until", "2023-11-01"), "since must lie before", id="order"),
    ],
)
def test_what_it_does_not_understand_it_says(
    config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    """One sentence on standard error, and status 1."""
    assert main(["usage", "--config", str(config), *SPAN, *words]) == 1
    assert sentence in capsys.readouterr().err


def ask(router: RouterUnderTest, query: str, headers: dict[str, str] = AUTHORIZATION) -> Answer:
    span = "since=2023-11-14&until=2023-11-15"
    return call(router, "GET", f"/admin/v1/usage?{span}&{query}", headers=headers)


def test_usage_over_http(router: RouterUnderTest) -> None:
    """The same report as JSON or CSV."""
    data: list[dict[str, Any]] = ask(router, "by=tenant").json["data"]
    assert [(row["tenant"], row["requests"]) for row in data] == [("acme", 2), ("zenith", 1)]
    answer = ask(router, "by=day,key&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.body.startswith(b"day,key,requests,")


def test_a_key_for_usage_sees_its_own_tenant_only(router: RouterUnderTest) -> None:
    """Of others it is told nothing; administrators see all."""
    data = ask(router, "by=tenant", OWN).json["data"]
    assert [row["tenant"] for row in data] == ["zenith"]
    assert ask(router, "by=tenant&tenant=acme", OWN).status == 403


def test_a_report_that_makes_no_sense_is_a_400(router: RouterUnderTest) -> None:
    """A word that stands twice would win or lose in silence."""
    for query in ("by=colour", "colour=red", "tenant=a&tenant=b", "format=xml"):
        assert ask(router, query).status == 400
