"""Each alert fires when it should, stays silent when it should not, and has a page."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from router.cli import _parser
from router.telemetry.metric_names import CATALOGUE
from tests.support.parts import program
from tests.support.prometheus import RULES, rules

DOCS = Path(__file__).parents[2]
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yaml")}
DAY_S = 86_400
# Series of the HTTP-like kind: a job, and what else an alert is about.
JOB = 'job="r"'


@dataclass(frozen=True)
class Case:
    """Series by name and labels → values each minute, and when to look; `fires` for whom."""

    alert: str
    series: dict[str, str]
    at: str
    fires: dict[str, str] | None = field(default=None)


def requests(ok: str, bad: str, code: str = "upstream_unavailable") -> dict[str, str]:
    """Counters of one route; `bad` end with an error's code."""
    return {
        f'embedway_requests_total{{{JOB}, route="m", outcome="ok"}}': ok,
        f'embedway_requests_total{{{JOB}, route="m", outcome="{code}"}}': bad,
    }


def one(name: str, labels: str, values: str) -> dict[str, str]:
    inner = f"{JOB}, {labels}" if labels else JOB
    return {f"{name}{{{inner}}}": values}


def targets(callable_: str, opened: str = "0x20") -> dict[str, str]:
    return (
        one("embedway_route_targets", 'route="m"', "2x20")
        | one("embedway_route_targets_callable", 'route="m"', callable_)
        | one("embedway_route_targets_open", 'route="m"', opened)
    )


ROUTE = {"job": "r", "route": "m"}
SPACE = {"job": "r", "space": "s", "target": "t"}
FAILS, RECOVERS = "0+2x600", "0+60x5 300x600"
CASES = {
    "two of a hundred fail": Case(
        "EmbedwayErrorBudgetBurnFast", requests("0+98x600", FAILS), "70m", ROUTE
    ),
    "they failed an hour ago, and do no more": Case(
        "EmbedwayErrorBudgetBurnFast", requests("0+98x600", RECOVERS), "40m"
    ),
    "a budget refuses most": Case(
        "EmbedwayErrorBudgetBurnFast",
        requests("0+10x600", "0+90x600", "budget_exhausted"), "70m",
    ),
    "one laptop's uploads stall on a model that nobody else asks for": Case(
        "EmbedwayErrorBudgetBurnFast", requests("0x600", FAILS, "request_timeout"), "70m"
    ),
    "one of a hundred fails": Case(
        "EmbedwayErrorBudgetBurnMedium", requests("0+99x600", "0+1x600"), "7h", ROUTE
    ),
    "one of three hundred fails": Case(
        "EmbedwayErrorBudgetBurnMedium", requests("0+299x600", "0+1x600"), "7h"
    ),
    "two of a thousand fail for hours": Case(
        "EmbedwayErrorBudgetBurnSlow", requests("0+998x600", FAILS), "9h", ROUTE
    ),
    "one of two thousand fails for hours": Case(
        "EmbedwayErrorBudgetBurnSlow", requests("0+1999x600", "0+1x600"), "9h"
    ),
    "no target may be called": Case(
        "EmbedwayRouteWithoutTarget", targets("0x20"), "5m", ROUTE
    ),
    "one target may be called": Case("EmbedwayRouteWithoutTarget", targets("1x20"), "5m"),
    "both breakers are open": Case("EmbedwayBreakersOpen", targets("0x20", "2x20"), "5m", ROUTE),
    "one breaker is open": Case("EmbedwayBreakersOpen", targets("1x20", "1x20"), "5m"),
    "every other request falls back": Case(
        "EmbedwayFallbackShare",
        requests("0+60x60", "0x60")
        | one("embedway_reroutes_total", 'route="m", kind="fallback", reason="x"', "0+30x60"),
        "30m", ROUTE,
    ),
    "retries at the same target": Case(
        "EmbedwayFallbackShare",
        requests("0+60x60", "0x60")
        | one("embedway_reroutes_total", 'route="m", kind="retry", reason="x"', "0+30x60"),
        "30m",
    ),
    "five seconds of work are waiting": Case(
        "EmbedwayPredictedWait",
        one("embedway_predicted_wait_seconds", 'target="t"', "5x20"), "8m",
        {"job": "r", "target": "t"},
    ),
    "a peak of a minute": Case(
        "EmbedwayPredictedWait",
        one("embedway_predicted_wait_seconds", 'target="t"', "0x5 9 0x20"), "8m",
    ),
    "a target drifts": Case(
        "EmbedwaySpaceDrift",
        one("embedway_space_agreement_cosine", 'space="s", target="t"', "0.993x30"), "15m", SPACE,
    ),
    "another engine of the same weights": Case(
        "EmbedwaySpaceDrift",
        one("embedway_space_agreement_cosine", 'space="s", target="t"', "0.9975x30"), "15m",
    ),
    "a worker has put a target out": Case(
        "EmbedwayTargetQuarantined",
        one("embedway_target_standing", 'space="s", target="t", standing="quarantined"', "0.5x9"),
        "5m", SPACE,
    ),
    "a target is verified": Case(
        "EmbedwayTargetQuarantined",
        one("embedway_target_standing", 'space="s", target="t", standing="quarantined"', "0x9")
        | one("embedway_target_standing", 'space="s", target="t", standing="verified"', "1x9"),
        "5m",
    ),
    "a budget is at 95 %": Case(
        "EmbedwayBudgetNearlySpent",
        one("embedway_quota_used_ratio",
            'scope="tenant", subject="a", unit="usd", window="day", mode="hard"', "0.95x20"),
        "8m",
        {"job": "r", "scope": "tenant", "subject": "a", "unit": "usd", "window": "day",
         "mode": "hard"},
    ),
    "a rate limit is at 95 %": Case(
        "EmbedwayBudgetNearlySpent",
        one("embedway_quota_used_ratio",
            'scope="tenant", subject="a", unit="requests", window="minute", mode="hard"',
            "0.95x20"), "8m",
    ),
    "the spool grows": Case(
        "EmbedwaySpoolGrowing",
        one("embedway_spool_depth", 'instance="i"', "1000+500x60"), "40m",
        {"job": "r", "instance": "i"},
    ),
    "the spool is worked off": Case(
        "EmbedwaySpoolGrowing",
        one("embedway_spool_depth", 'instance="i"', "60000-500x60"), "40m",
    ),
    "the ledger is out of reach": Case(
        "EmbedwayStoreUnreachable",
        one("embedway_store_reachable", 'instance="i", part="ledger"', "0x20"), "5m",
        {"job": "r", "instance": "i", "part": "ledger"},
    ),
    "the store answers": Case(
        "EmbedwayStoreUnreachable",
        one("embedway_store_reachable", 'instance="i", part="ledger"', "1x20"), "5m",
    ),
    "two hashes are served": Case(
        "EmbedwayConfigurationSkew",
        one("embedway_configuration_info", 'instance="i", hash="a"', "1x30")
        | one("embedway_configuration_info", 'instance="j", hash="b"', "1x30"), "15m",
        {"job": "r"},
    ),
    "a rollout of some minutes": Case(
        "EmbedwayConfigurationSkew",
        one("embedway_configuration_info", 'instance="i", hash="a"', "1x5 _x30")
        | one("embedway_configuration_info", 'instance="j", hash="b"', "1x30"), "15m",
    ),
    "generations differ": Case(
        "EmbedwayConfigurationSkew",
        one("embedway_configuration_generation", 'instance="i"', "3x30")
        | one("embedway_configuration_generation", 'instance="j"', "4x30"), "15m", {"job": "r"},
    ),
    "a configuration is refused": Case(
        "EmbedwayConfigurationPending",
        one("embedway_configuration_pending_error", 'instance="i"', "1x20"), "8m",
        {"job": "r", "instance": "i"},
    ),
    "no configuration waits": Case(
        "EmbedwayConfigurationPending",
        one("embedway_configuration_pending_error", 'instance="i"', "0x20"), "8m",
    ),
    "exports fail": Case(
        "EmbedwayTelemetryDropped",
        one("embedway_telemetry_dropped_total", 'signal="metric_exports"', "0+4x60"), "40m",
        {"job": "r", "signal": "metric_exports"},
    ),
    "an export failed once": Case(
        "EmbedwayTelemetryDropped",
        one("embedway_telemetry_dropped_total", 'signal="metric_exports"', "0x5 1x60"), "40m",
    ),
    "a key ends in three days": Case(
        "EmbedwayKeyExpiry", one("embedway_key_expiry_seconds", "", f"{3 * DAY_S}-60x20"), "8m",
        {"job": "r"},
    ),
    "a key ends in a month": Case(
        "EmbedwayKeyExpiry", one("embedway_key_expiry_seconds", "", f"{30 * DAY_S}-60x20"), "8m"
    ),
    "a certificate ends in ten days": Case(
        "EmbedwayCertificateExpiry",
        one("embedway_certificate_expiry_seconds", 'file="f"', f"{10 * DAY_S}-60x20"), "8m",
        {"job": "r", "file": "f"},
    ),
    "a certificate ends in two months": Case(
        "EmbedwayCertificateExpiry",
        one("embedway_certificate_expiry_seconds", 'file="f"', f"{60 * DAY_S}-60x20"), "8m",
    ),
}  # fmt: skip


def unit_test(case: Case) -> dict[str, object]:
    """The case in promtool's words."""
    expected = []
    if case.fires is not None:
        labels = {
            "__name__": "ALERTS",
            "alertname": case.alert,
            "alertstate": "firing",
            "severity": ALERTS[case.alert]["labels"]["severity"],
        } | case.fires
        inner = ", ".join(f'{name}="{value}"' for name, value in labels.items() if name[0] != "_")
        expected = [{"labels": f"ALERTS{{{inner}}}", "value": 1}]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{case.alert}", alertstate="firing"}}',
                "eval_time": case.at,
                "exp_samples": expected,
            }
        ],
    }


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    """Promtool runs the rules over the alert's cases: at least one of each kind."""
    cases = {name: case for name, case in CASES.items() if case.alert == alert}
    assert {case.fires is None for case in cases.values()} == {True, False}
    document = {
        "rule_files": [str(RULES / "recording.yaml"), str(RULES / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [unit_test(case) | {"name": name} for name, case in cases.items()],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [program("promtool", "prometheus"), "test", "rules", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    """Promtool finds nothing to complain of."""
    files = sorted(RULES.glob("*.yaml"))
    done = subprocess.run(
        [program("promtool", "prometheus"), "check", "rules", "--lint=all", "--lint-fatal", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_says_what_to_do(alert: str) -> None:
    """It has a severity, one sentence, and a page with the meaning, where to look, what to do."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    page = DOCS / rule["annotations"]["runbook_url"]
    assert page.read_text().startswith(f"# {alert}\n")
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == [
        "What it means", "What to look at", "What to do",
    ]  # fmt: skip


def test_every_page_belongs_to_an_alert() -> None:
    """No runbook is left over."""
    told = {Path(rule["annotations"]["runbook_url"]).name for rule in ALERTS.values()}
    assert told == {path.name for path in (DOCS / "docs" / "runbooks").glob("*.md")}


def commands() -> list[str]:
    """Every `embedway …` command of the pages, on one line each."""
    found = []
    for path in sorted((DOCS / "docs" / "runbooks").glob("*.md")):
        text = re.sub(r"\s*\n\s+", " ", path.read_text())
        found += re.findall(r"`embedway ([^`]+)`", text)
    return sorted(set(found))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_pages_are_commands(command: str) -> None:
    """Nobody is sent to an option that there is none of, at night."""
    assert _parser().parse_args(command.split()).run


def test_queries_of_the_pages_name_metrics_that_there_are() -> None:
    """A page names only metrics of the catalogue, of Triton, and recorded ones."""
    known = {metric.sample for metric in CATALOGUE}
    for path in sorted((DOCS / "docs" / "runbooks").glob("*.md")):
        for name in re.findall(r"\bembedway_[a-z_]+", path.read_text()):
            assert name in known, f"{path.name}: {name}"
