"""Probes, drains, ports and what pods may use."""

import http.client
from typing import Any

import pytest
import yaml

from embedway_operator.names import TEMPLATE_KEY, Installation
from embedway_operator.observed import Resource
from embedway_operator.workload import objects_of
from router.config.load import parse_settings
from tests.support import charts
from tests.support import triton as tritons
from tests.support.router_under_test import RouterUnderTest
from tests.support.wire import call

ALL = charts.SCENARIOS


def workloads(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Pods that serve, with the name of their only serving container."""
    return [
        (pod["spec"]["containers"][0]["name"], pod["spec"])
        for _, pod in charts.rendered(name).pods()
        if pod["spec"]["containers"][0]["name"] in ("router", "triton")
    ]


@pytest.mark.parametrize("name", ALL)
def test_grace_is_longer_than_all_that_happens_in_it(name: str) -> None:
    """Wait, drain and closing fit into the time before the kubelet kills."""
    rendered = charts.rendered(name)
    for kind, spec in workloads(name):
        container = spec["containers"][0]
        if kind == "triton":
            wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
            [drain] = [float(a.partition("=")[2]) for a in container["args"] if "exit-timeout" in a]
        else:
            server = base(rendered)["server"]
            wait, drain = server["drain_delay_s"], server["drain_timeout_s"]
        # A router's supervisor gives its workers 15 seconds to close.
        assert spec["terminationGracePeriodSeconds"] > wait + drain + 15
        # A proxy on every node has to hear of it, and the slowest router's next look at a target.
        assert wait >= 10


def base(rendered: charts.Rendered) -> dict[str, Any]:
    """The configuration as far as the chart renders it."""
    for config, key in (("router-base", "base.yaml"), ("router-config", "embedway.yaml")):
        try:
            whole = rendered.get("ConfigMap", config)["data"][key]
        except KeyError:
            continue
        text: dict[str, Any] = yaml.safe_load(whole)
        return text
    raise AssertionError("no configuration")


def test_a_drain_lasts_as_long_as_a_request_may() -> None:
    """By default no request that was let in is cut off by a rolling restart."""
    text = charts.rendered("cpu-static").get("ConfigMap", "router-config")["data"]["embedway.yaml"]
    server = parse_settings(text, "chart").server
    assert server.drain_timeout_s >= server.request_timeout_s


def test_rollouts_wait_for_the_next_hop() -> None:
    """The next replica goes only when the last was up for as long as news takes to spread."""
    for one in charts.rendered("gpu-static").of("StatefulSet"):
        spec = one["spec"]
        assert spec["minReadySeconds"] == 15
        assert spec.get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate"


@pytest.mark.parametrize("name", ALL)
def test_probes_do_not_kill_slow_starts(name: str) -> None:
    """A startup probe covers download and load; liveness asks nothing that targets decide."""
    for kind, spec in workloads(name):
        container = spec["containers"][0]
        startup, live = container["startupProbe"], container["livenessProbe"]
        covered = startup["periodSeconds"] * startup["failureThreshold"]
        assert covered >= {"triton": 3600, "router": 300}[kind]
        assert live["periodSeconds"] * live["failureThreshold"] >= 30
        assert startup["httpGet"] == live["httpGet"]
        paths = {"triton": "/v2/health/live", "router": "/health/live"}
        assert live["httpGet"]["path"] == paths[kind]


def test_the_routers_probes_are_its_own(router: RouterUnderTest) -> None:
    """Each path that the kubelet asks is one that a router answers, without a key."""
    for name in ALL:
        for kind, spec in workloads(name):
            if kind != "router":
                continue
            container = spec["containers"][0]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                path = container[probe]["httpGet"]["path"]
                assert call(router, "GET", path, headers={}).status == 200, path


@pytest.mark.parametrize("name", ALL)
def test_ports_agree(name: str) -> None:
    """What a probe or a Service names is a port of the container, at the configured number."""
    rendered = charts.rendered(name)
    server = base(rendered)["server"]
    wanted = {
        "router": {"http": server["port"], "grpc": server["grpc_port"]},
        "triton": {"http": 8000, "grpc": 8001, "metrics": 8002},
    }
    for kind, spec in workloads(name):
        container = spec["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == wanted[kind]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports
        if kind == "triton":
            for port, number in ports.items():
                assert f"--{port}-port={number}" in container["args"]
    for one in rendered.of("Service"):
        component = one["spec"]["selector"]["app.kubernetes.io/component"]
        for port in one["spec"]["ports"]:
            assert wanted[component][port["targetPort"]] == port["port"]
            # Server-side apply on older clusters merges ports by number and protocol.
            assert port["protocol"] == "TCP"


async def test_a_real_triton_answers_its_probes(triton: tritons.SharedTriton) -> None:
    """Each path that the kubelet asks of the demonstration is answered 200 by a real server."""
    spec = charts.rendered("cpu-static").get("StatefulSet", "triton-all-minilm-l6-v2")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    await triton.wait_ready()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        connection = http.client.HTTPConnection("127.0.0.1", triton.process.ports.http, timeout=60)
        connection.request("GET", container[probe]["httpGet"]["path"])
        assert connection.getresponse().status == 200, probe
        connection.close()


def test_readiness_is_the_models_own() -> None:
    """Triton's own readiness flaps while models load, so the loaded model is asked."""
    spec = charts.rendered("gpu-static").get("StatefulSet", "triton-qwen3-embedding-4b")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert "--load-model=qwen3_embedding_4b" in container["args"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/qwen3_embedding_4b/ready"


@pytest.mark.parametrize("name", ALL)
def test_triton_is_closed_but_for_inference(name: str) -> None:
    """Shared memory, model control, tracing and logging answer only who knows the pod's own id."""
    for kind, spec in workloads(name):
        if kind != "triton":
            continue
        container = spec["containers"][0]
        closed = "shared-memory,model-repository,trace,logging:x-embedway-closed=$(POD_UID)"
        assert f"--http-restricted-api={closed}" in container["args"]
        assert f"--grpc-restricted-protocol={closed}" in container["args"]
        assert container["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}


@pytest.mark.parametrize("seconds", [None, 7200])
def test_no_rollout_has_failed_while_a_model_may_still_start(seconds: int | None) -> None:
    """The operator gives a Deployment longer than `triton.startup.seconds`, whatever they are."""
    values = {} if seconds is None else {"triton": {"startup": {"seconds": seconds}}}
    templates = charts.render(values).get("ConfigMap", "operator-templates")["data"]
    metadata = {"name": "qwen", "uid": "u"}
    model = Resource(
        {"kind": "EmbeddingModel", "metadata": metadata, "spec": {"model": "m", "gpus": 1}}
    )
    installation = Installation(charts.NAMESPACE, charts.RELEASE, min_ready_s=15)
    [spec] = [
        one["spec"]
        for one in objects_of(installation, model, templates[TEMPLATE_KEY], [])
        if one["kind"] == "Deployment"
    ]
    assert spec["progressDeadlineSeconds"] > (seconds or 3600) + spec["minReadySeconds"]


def test_gpus_are_limits_beside_what_else_is_asked() -> None:
    """A model's GPUs stand in its limits under the resource's name; the demonstration has none."""
    rendered = charts.rendered("everything-static")
    containers = {
        one["metadata"]["labels"].get("embedway.dev/model"): (
            one["spec"]["template"]["spec"]["containers"][0]["resources"]
        )
        for one in rendered.of("StatefulSet")
    }
    assert containers["qwen3-embedding-4b"]["limits"] == {"memory": "48Gi", "nvidia.com/gpu": 1}
    assert "limits" not in containers["all-minilm-l6-v2"]


@pytest.mark.parametrize("name", ALL)
def test_no_memory_limit_by_default(name: str) -> None:
    """A default limit would kill routers in the middle of requests."""
    for kind, spec in workloads(name):
        if kind == "router":
            assert "memory" not in spec["containers"][0]["resources"].get("limits", {})
