"""What routers read, as the chart renders it, is what routers take."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from router.cli import main
from router.config.load import parse_settings
from router.config.settings import Settings
from tests.support import charts

STATIC = [name for name in charts.SCENARIOS if not charts.rendered(name).of("VectorSpace")]
WITH_OPERATOR = [name for name in charts.SCENARIOS if name not in STATIC]
SECRETS = "/etc/embedway/secrets/"


def configuration(rendered: charts.Rendered) -> str:
    text: str = rendered.get("ConfigMap", "router-config")["data"]["embedway.yaml"]
    return text


def static(**values: Any) -> Settings:
    """Settings of an installation without the operator and the demonstration."""
    given = {"operator": {"enabled": False}, "demo": {"enabled": False}} | values
    return parse_settings(configuration(charts.render(given)), "chart")


def router_pod(rendered: charts.Rendered) -> dict[str, Any]:
    spec: dict[str, Any] = rendered.get("StatefulSet", "router")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("name", STATIC)
def test_the_router_takes_the_configuration(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`embedway check` finds the rendered file valid."""
    path = tmp_path / "embedway.yaml"
    path.write_text(configuration(charts.rendered(name)), encoding="utf-8")
    assert main(["check", "--config", str(path)]) == 0
    assert "valid" in capsys.readouterr().out


@pytest.mark.parametrize("name", WITH_OPERATOR)
def test_the_base_needs_only_what_the_operator_adds(name: str) -> None:
    """With a space, a target, a route and a tenant the base is a whole configuration."""
    base = yaml.safe_load(
        charts.rendered(name).get("ConfigMap", "router-base")["data"]["base.yaml"]
    )
    added = {
        "spaces": {"s": {"model": "m", "dimensions": 8, "max_tokens": 8}},
        "targets": {"t": {"space": "s", "upstream": "fake"}},
        "routes": {"r": {"targets": ["t"]}},
        "tenants": {"one": {}},
        "generation": 7,
    }
    assert not base.keys() & added.keys()
    settings = parse_settings(yaml.safe_dump(base | added), "chart")
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8080)


@pytest.mark.parametrize("name", STATIC)
def test_each_target_has_its_own_service(name: str) -> None:
    """A target's address is a Service of one replica, on the gRPC port, and each has a target."""
    rendered = charts.rendered(name)
    settings = parse_settings(configuration(rendered), "chart")
    asked = {
        (target.url or "").removeprefix("grpc://").partition(".")[0]: (target.url or "")
        for target in settings.targets.values()
        if target.upstream == "triton"
    }
    services = {
        one["metadata"]["name"]: one["spec"]
        for one in rendered.of("Service")
        if "statefulset.kubernetes.io/pod-name" in one["spec"]["selector"]
    }
    assert asked.keys() == services.keys()
    for service, url in asked.items():
        assert url.endswith(f".{charts.NAMESPACE}.svc.cluster.local:8001")
        [port] = services[service]["ports"]
        assert (port["port"], port["targetPort"]) == (8001, "grpc")
        pod = services[service]["selector"]["statefulset.kubernetes.io/pod-name"]
        workload, _, ordinal = pod.rpartition("-")
        stateful = rendered.get("StatefulSet", workload.removeprefix(f"{charts.RELEASE}-"))
        assert int(ordinal) < stateful["spec"].get("replicas", 3)


@pytest.mark.parametrize("name", STATIC)
def test_each_secret_is_mounted_where_it_is_read(name: str) -> None:
    """Every file that the configuration names comes from a Secret, and no other is mounted."""
    rendered = charts.rendered(name)
    settings = parse_settings(configuration(rendered), "chart")
    read = {
        str(key.file) for tenant in settings.tenants.values() for key in tenant.keys if key.file
    }
    read |= {str(t.api_key.file) for t in settings.targets.values() if t.api_key is not None}
    pod = router_pod(rendered)
    [secrets] = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
    mounted = {
        SECRETS + item["path"]
        for source in secrets["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert mounted == read
    assert {"name": "secrets", "mountPath": SECRETS.rstrip("/"), "readOnly": True} in (
        pod["containers"][0]["volumeMounts"]
    )


@pytest.mark.parametrize("name", charts.SCENARIOS)
def test_what_routers_write_is_writable(name: str) -> None:
    """The root is read-only: state, tokenizers and scratch lie on volumes, by their paths."""
    rendered = charts.rendered(name)
    kind, key = (
        ("router-config", "embedway.yaml") if name in STATIC else ("router-base", "base.yaml")
    )
    store = yaml.safe_load(rendered.get("ConfigMap", kind)["data"][key])["store"]
    container = router_pod(rendered)["containers"][0]
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    environment = {one["name"]: one for one in container["env"]}
    paths = [store["state"], environment["HF_HOME"]["value"]]
    if "url" in store:
        paths.append(store["url"].removeprefix("sqlite:///"))
    else:
        assert environment[store["url_env"]]["valueFrom"]["secretKeyRef"]["name"]
    for path in paths:
        assert any(path.startswith(folder + "/") for folder in writable), path


def test_a_spools_volume_outlives_its_pod() -> None:
    """Each router has a claim of its own: what it has not written yet is not lost."""
    spec = charts.rendered("everything").get("StatefulSet", "router")["spec"]
    assert spec["replicas"] == 3
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["state"]
    assert "state" not in {volume["name"] for volume in spec["template"]["spec"]["volumes"]}


def test_postgresqls_tables_are_made_before_a_router_starts() -> None:
    """An init container upgrades them with the router's image, file and address; not on SQLite."""
    pod = router_pod(charts.rendered("postgresql-ha"))
    [migrate], [serve] = pod["initContainers"], pod["containers"]
    assert migrate["command"][:3] == ["embedway", "db", "upgrade"]
    assert migrate["command"][-2:] == serve["command"][-2:]
    for field in ("image", "env", "volumeMounts"):
        assert migrate[field] == serve[field]
    assert "initContainers" not in router_pod(charts.rendered("default"))
    left = charts.merged(charts.scenario("postgresql-ha"), {"store": {"migrate": False}})
    assert "initContainers" not in router_pod(charts.render(left))


SPACES = {"s": {"model": "m", "dimensions": 8, "maxTokens": 64}}
MODEL = {"space": "s", "model": "folder", "gpus": 0}
MODEL_TARGET = {"kind": "EmbeddingModel", "name": "m"}
PROVIDER = {
    "space": "s", "upstream": "openai", "url": "https://p.example", "model": "x",
    "apiKeySecret": {"name": "p"},
}  # fmt: skip


def test_several_replicas_share_the_load() -> None:
    """A route of one model with replicas asks the fastest; priority would ask the first alone."""
    settings = static(
        spaces=SPACES,
        models={"m": MODEL | {"replicas": 3}},
        routes={"r": {"space": "s", "targets": [MODEL_TARGET]}},
    )
    assert settings.routes["r"].strategy == "fastest"
    assert settings.routes["r"].targets == ["m-0", "m-1", "m-2"]
    assert not settings.spaces["s"].verification.enabled


def test_replicas_beside_a_provider_are_verified() -> None:
    """Only replicas of one model are trusted; with another target in the space all are measured."""
    settings = static(
        spaces={"s": SPACES["s"] | {"reference": MODEL_TARGET}},
        models={"m": MODEL | {"replicas": 2}},
        providers={"p": PROVIDER},
        routes={
            "r": {
                "space": "s",
                "modelName": "Org/Model",
                "strategy": "cheapest",
                "targets": [MODEL_TARGET, {"kind": "EmbeddingProvider", "name": "p"}],
            }
        },
    )
    assert settings.routes["Org/Model"].targets == ["m-0", "m-1", "p"]
    assert settings.spaces["s"].verification.enabled
    assert settings.spaces["s"].verification.reference == "m-0"


def test_a_model_at_zero_replicas_is_still_offered() -> None:
    """A scaled model has a target for each replica that it may have, so the route never goes."""
    settings = parse_settings(configuration(charts.rendered("keda")), "chart")
    assert list(settings.routes) == ["Qwen/Qwen3-Embedding-0.6B"]
    assert settings.routes["Qwen/Qwen3-Embedding-0.6B"].targets == [
        "qwen3-small-0", "qwen3-small-1", "qwen3-small-2",
    ]  # fmt: skip


def test_the_demonstration_can_be_changed_in_part() -> None:
    """One field of its space is enough; the others stay."""
    values = {"operator": {"enabled": False}, "spaces": {"all-minilm-l6-v2": {"tokenizer": "/t"}}}
    settings = parse_settings(configuration(charts.render(values)), "chart")
    assert str(settings.spaces["all-minilm-l6-v2"].tokenizer) == "/t"
    assert settings.spaces["all-minilm-l6-v2"].dimensions == 384


def test_every_setting_of_a_resource_reaches_the_file() -> None:
    """Words of resources become words of the file, units and names of people's own included."""
    settings = parse_settings(configuration(charts.rendered("everything-static")), "chart")
    target = settings.targets["qwen3-embedding-4b-1"]
    assert (target.timeout_s, target.max_call_tokens) == (20, 4096)
    assert str(target.price_usd_per_million_tokens) == "0.001"
    assert settings.targets["deepinfra"].body == {"userField": 1}
    assert settings.spaces["qwen3-embedding-4b"].verification.interval_s == 120
    assert "query" in settings.spaces["qwen3-embedding-4b"].prompts
    route = settings.routes["qwen3-embedding-4b"]
    assert (route.spill_over_s, route.hedge_quantile) == (0.5, 0.95)
    assert route.rules[0].when.min_tokens == 10
    assert [key.name for key in settings.tenants["indexing"].keys] == ["nightly", "hashed"]
    assert settings.tenants["indexing"].keys[0].tags == {"costCentre": "7"}
    assert settings.server.max_inputs == 1024
