"""Every query of every dashboard finds data: a real Prometheus, router and Triton under load."""

import datetime as dt
import io
import itertools
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.chaos.faults import server_error
from benchmarks.chaos.local_provider import API_KEY, LocalProvider
from deploy.dashboards.files import BOARDS, dashboard_files
from router.config.file import ConfigurationFile
from router.domain.clock import SystemClock
from router.domain.keys import fingerprint
from router.reloading.board import Board
from router.reloading.reloader import Reloader
from router.telemetry.logs import Log
from tests.support.padded_triton import PADDED_NAME, PROFILES, PaddedTriton
from tests.support.prometheus import Prometheus, rules, running_prometheus
from tests.support.provider_thread import providers
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, server
from tests.support.triton import MINILM_NAME, SharedTriton
from tests.support.wire import call

FOLDER = Path(__file__).parents[2] / "helm" / "embedway" / "files" / "dashboards"
LOAD_S, LEAST_ROUNDS = 7.0, 40
POOR_KEY = "ew-key-of-a-tenant-with-little-0123456789"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
# A machine without a GPU has none of Triton's metrics of one.
NO_GPU = {"nv_gpu_utilization", "nv_gpu_memory_used_bytes"}


def expressions() -> list[tuple[str, str]]:
    """Title of the panel and expression of each query, out of the generated files."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            found += [(panel["title"], one["expr"]) for one in panel.get("targets", ())]
    return found


def certificate(path: Path) -> Path:
    """A certificate that holds for thirty days."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "router")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def settings(
    minilm: Path,
    triton: SharedTriton,
    padded: PaddedTriton,
    pair: list[LocalProvider],
    pem: Path,
) -> str:
    """Two Tritons and two providers, a tenant with budgets, and one that has little."""
    mini = {"space": "mini", "upstream": "triton", "model": MINILM_NAME}
    mini |= {"url": f"grpc://127.0.0.1:{triton.process.ports.grpc}"}
    mini |= {"price_usd_per_million_tokens": 0.01}
    cloud = {"space": "cloud", "upstream": "openai", "model": "m", "api_key": {"env": "CLOUD_KEY"}}
    cloud |= {"price_usd_per_million_tokens": 0.02, "profile": "deepinfra"}
    common = {"model": "m", "dimensions": 384, "max_tokens": 128, "tokenizer": str(minilm)}
    wide = {"space": "wide", "upstream": "triton", "model": PADDED_NAME, "url": padded.url}
    shapes = [[profile.rows, profile.tokens] for profile in PROFILES]
    unchecked = {"verification": {"enabled": False}}
    limit = {"window": "month", "unit": "usd"}
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=3)
    good = {"name": "first", "sha256": fingerprint(KEY), "expires": expires.isoformat()}
    document = {
        "server": server(),
        "generation": 7,
        "spaces": {
            "mini": common,
            "cloud": common | unchecked,
            "wide": common | unchecked | {"tokenizer": str(padded.weights)},
        },
        "targets": {
            "packed": mini,
            "single": mini | {"max_call_tokens": 0},
            "far": cloud | {"url": pair[0].url},
            "near": cloud | {"url": pair[1].url},
            "padded": wide | {"padded_profiles": shapes, "price_usd_per_million_tokens": 0},
        },
        "routes": {
            "mini": {"targets": ["packed", "single"]},
            "cloud": {"targets": ["far", "near"]},
            "wide": {"targets": ["padded"]},
        },
        "tenants": {
            "rich": {"keys": [good], "quotas": [limit | {"limit": 10}]},
            "poor": {
                "keys": [{"name": "only", "sha256": fingerprint(POOR_KEY)}],
                # Of no day: what was spent would be forgotten at midnight.
                "quotas": [{"window": "total", "unit": "requests", "limit": 2}],
            },
        },
        "telemetry": {"metrics": {"certificates": [str(pem)]}},
    }
    return yaml.safe_dump(document, sort_keys=False)


def load(router: RouterUnderTest, seconds: float) -> None:
    """New and known texts to every route, and more than the poor tenant may ask for."""
    end_s = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end_s and number >= LEAST_ROUNDS:
            return
        for route, text in (("mini", f"a{number}"), ("mini", "the same"), ("cloud", f"b{number}"),
                            ("wide", f"c{number} and more")):  # fmt: skip
            assert ask(router, KEY, route, text) == 200
        ask(router, POOR_KEY, "mini", f"d{number}")
        time.sleep(0.05)


def ask(router: RouterUnderTest, key: str, route: str, text: str) -> int:
    headers = {"authorization": f"Bearer {key}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    body = json.dumps({"model": route, "input": [text, f"{text} twice"]}).encode()
    return call(router, "POST", "/v1/embeddings", body, headers).status


@pytest.fixture(scope="module")
def prometheus(
    minilm: Path,
    triton: SharedTriton,
    padded_triton: PaddedTriton,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """A Prometheus that has seen some seconds of load."""
    folder = tmp_path_factory.mktemp("prometheus")
    pem = certificate(folder / "router.pem")
    with providers("deepinfra", "deepinfra") as pair:
        pair[0].fault = server_error
        text = settings(minilm, triton, padded_triton, pair, pem)
        path = folder / "embedway.yaml"
        path.write_text(text)
        reloader = Reloader(ConfigurationFile(path), Board(None), Log(SystemClock(), io.BytesIO()))
        reloader.first()
        with RouterUnderTest(text, {"CLOUD_KEY": API_KEY}, reloader=reloader) as router:
            eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.states)), 30)
            jobs = {
                "embedway-router": [router.host],
                "triton": [f"127.0.0.1:{triton.process.ports.metrics}"],
            }
            with running_prometheus(folder, jobs) as running:
                load(router, LOAD_S)
                # Rules are evaluated every second, later on a busy machine.
                recorded = [one["record"] for one in rules("recording.yaml")]
                eventually(lambda: all(map(running.query, recorded)), 60)
                eventually(lambda: _are_well(running), 60)
                # Asked of this moment: a while later the rates of the load would be gone.
                yield replace(running, at_s=time.time())


def _are_well(running: Prometheus) -> bool:
    """Whether every rule has been evaluated, and without an error."""
    groups = running.get("rules")["groups"]
    return all(rule["health"] == "ok" for group in groups for rule in group["rules"])


def filled_in(expr: str) -> str:
    """The query as Grafana sends it."""
    expr = re.sub(r"\$(job|route|target|tenant|model|space)\b", ".*", expr)
    filled = expr.replace("$__rate_interval", "30s")
    assert "$" not in filled
    return filled


@pytest.mark.parametrize(("title", "expr"), expressions())
def test_every_query_of_every_dashboard_finds_data(
    title: str, expr: str, prometheus: Prometheus
) -> None:
    """A real Prometheus has series for it, and figures where the load makes some."""
    found = prometheus.query(filled_in(expr))
    if expr in NO_GPU:
        assert found == []
        return
    assert found, f"{title}: {expr}"
    assert any(one["value"][1] != "NaN" for one in found), f"{title}: {expr}"


def test_every_choice_of_every_dashboard_has_values(prometheus: Prometheus) -> None:
    """The queries of variables name a metric and a label of it that are there."""
    for board in BOARDS:
        for _, query in board.choices:
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
            assert match is not None
            found = prometheus.query(f"count by ({match[2]}) ({match[1]})")
            assert any(match[2] in one["metric"] for one in found), query


def test_a_scrape_brings_exemplars_that_lead_to_the_trace(prometheus: Prometheus) -> None:
    """The trace id that a client sent is found beside the histogram."""
    found = prometheus.get(
        "query_exemplars",
        query="embedway_request_duration_seconds_bucket",
        start=str(time.time() - 600),
        end=str(time.time() + 1),
    )
    traces = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
    assert TRACE in traces


def test_the_load_fell_back_was_refused_and_was_remembered(prometheus: Prometheus) -> None:
    """What the dashboards are shown is what happened."""

    def total(expr: str) -> float:
        return sum(float(one["value"][1]) for one in prometheus.query(expr))

    assert total('embedway_reroutes_total{kind="fallback",target="far"}') > 0
    assert total('embedway_quota_refusals_total{subject="poor",unit="requests"}') > 0
    assert total('embedway_tokens_total{source="saved",route="mini"}') > 0
    assert total('embedway_quota_spent{subject="poor"}') == 2
    assert 0 < total('embedway_quota_used_ratio{subject="rich"}') < 0.01
    assert total("embedway_space_agreement_cosine") > 1.99
    assert total("embedway_configuration_generation") == 7
    assert total("embedway_batch_padded_tokens_total") > total("embedway_batch_tokens_total") > 0


def test_rules_are_evaluated_without_errors(prometheus: Prometheus) -> None:
    """Every rule of the chart is healthy in a real Prometheus."""
    groups: list[dict[str, Any]] = prometheus.get("rules")["groups"]
    loaded = [rule for group in groups for rule in group["rules"]]
    assert len(loaded) == len(rules("recording.yaml")) + len(rules("alerts.yaml")) > 20
    assert {rule["health"] for rule in loaded} == {"ok"}


@pytest.mark.parametrize("name", sorted(dashboard_files()))
def test_the_dashboards_are_up_to_date(name: str) -> None:
    """The files in the chart are those that the code gives (`make format` writes them)."""
    assert (FOLDER / name).read_text() == dashboard_files()[name]


def test_no_dashboard_divides_lifetime_counters() -> None:
    """A counter stands in rate() or increase(), or it tells of the process's age alone."""
    for _, expr in expressions():
        for counter in re.finditer(r"[a-z_]+_(total|count|sum|bucket|us)\b\{?", expr):
            before = expr[: counter.start()]
            is_gauge = counter[0].startswith("nv_inference_pending")
            assert is_gauge or before.endswith(("rate(", "increase(")), expr


def test_panels_say_what_they_show() -> None:
    """Every panel has a description, and every one has an id of its own on its board."""
    for text in dashboard_files().values():
        panels = json.loads(text)["panels"]
        assert all(panel.get("description") for panel in panels if panel["type"] != "row")
        numbers = [panel["id"] for panel in panels]
        assert len(numbers) == len(set(numbers))
