"""Values that are refused, and what is said of them."""

from typing import Any

import helm_python
import pytest

from tests.support import charts

MODEL = {"space": "s", "model": "m"}
REFUSED = {
    "unknown at the top": ({"replicas": 2}, "replicas"),
    "unknown in a section": ({"router": {"replica": 2}}, "replica"),
    "unknown in a container": ({"router": {"resources": {"request": {}}}}, "request"),
    "no number of replicas": ({"router": {"replicas": "two"}}, "/router/replicas"),
    "no replicas": ({"router": {"replicas": 0}}, "/router/replicas"),
    "a text for a switch": ({"demo": {"enabled": "false"}}, "/demo/enabled"),
    "an unknown store": ({"store": {"kind": "mysql"}}, "/store/kind"),
    "an unknown pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "an unknown setting of the router": (
        {"router": {"configuration": {"server": {"max_input": 1}}}}, "max_input",
    ),
    "a setting of the router that the chart decides": (
        {"router": {"configuration": {"server": {"port": 80}}}}, "port",
    ),
    "routes in the configuration": ({"router": {"configuration": {"routes": {}}}}, "routes"),
    "a setting out of range": (
        {"router": {"configuration": {"server": {"max_inputs": 0}}}}, "max_inputs",
    ),
    "an unknown field of a model": ({"models": {"m": MODEL | {"gpu": 1}}}, "gpu"),
    "a model without a space": ({"models": {"m": {"model": "m"}}}, "space"),
    "too many GPUs": ({"models": {"m": MODEL | {"gpus": 17}}}, "/models/m/gpus"),
    "a model whose name is no host's": ({"models": {"My.Model": MODEL}}, "My.Model"),
    "a space without dimensions": ({"spaces": {"s": {"model": "m", "maxTokens": 8}}}, "dimensions"),
    "a route to nothing": ({"routes": {"r": {"space": "s", "targets": []}}}, "/routes/r/targets"),
    "a key in the clear": ({"tenants": {"t": {"keys": [{"name": "k", "value": "v"}]}}}, "value"),
    "a provider's key in the clear": (
        {"providers": {"p": {"space": "s", "upstream": "openai", "apiKey": "sk-1"}}}, "apiKey",
    ),
    "an unknown field of a toleration": ({"router": {"tolerations": [{"keys": "x"}]}}, "keys"),
    "no quantity": ({"router": {"persistence": {"size": "4 GB"}}}, "/router/persistence"),
    "a port beyond all": ({"networkPolicy": {"postgresqlPort": 70000}}, "postgresqlPort"),
    "no time to drain": ({"router": {"drain": {"propagationSeconds": 0}}}, "propagationSeconds"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "named"), REFUSED.values(), ids=REFUSED)
def test_the_schema_refuses(values: dict[str, Any], named: str) -> None:
    """A mistake in values is refused before anything is rendered, and named."""
    with pytest.raises(helm_python.HelmValuesError) as refusal:
        charts.chart().validate_schema(values)
    assert named in str(refusal.value)


TWO_SPACES = {
    "demo": {"enabled": False},
    "spaces": {name: {"model": "m", "dimensions": 8, "maxTokens": 8} for name in ("a", "b")},
    "models": {"m": {"space": "a", "model": "m"}},
}
TO_M = {"kind": "EmbeddingModel", "name": "m"}
SCALED = {"autoscaling": {"maxReplicas": 3}}
REASONED = {
    "several routers on SQLite": (
        {"router": {"replicas": 2}}, "set store.kind to postgresql",
    ),
    "scaled routers on SQLite": (
        {"router": {"autoscaling": {"enabled": True}}}, "set store.kind to postgresql",
    ),
    "PostgreSQL without its address": ({"store": {"kind": "postgresql"}}, "store.existingSecret"),
    "a test without a key": ({"key": {"enabled": False}}, "tests.enabled"),
    "a door that the policies close": (
        {"ingress": {"enabled": True}}, "networkPolicy.gateways",
    ),
    "a load balancer that the policies close": (
        {"router": {"service": {"type": "LoadBalancer"}}}, "networkPolicy.gateways",
    ),
    "a node's port that the policies close": (
        {"router": {"service": {"type": "NodePort"}}}, "networkPolicy.gateways",
    ),
    "routers' metrics that nobody may read": (
        {"monitoring": {"serviceMonitor": {"enabled": True}}}, "networkPolicy.monitoring",
    ),
    "Triton's metrics that nobody may read": (
        {"monitoring": {"podMonitor": {"enabled": True}}}, "networkPolicy.monitoring",
    ),
    "a model of no space": ({"models": {"m": MODEL}}, "models.m.space"),
    "a route of no target": (
        {"routes": {"r": {"space": "all-minilm-l6-v2", "targets": [TO_M]}}}, "routes.r.targets",
    ),
    "a route across spaces": (
        TWO_SPACES | {"routes": {"r": {"space": "b", "targets": [TO_M]}}}, "routes.r.targets",
    ),
    "a provider named as a model": (
        TWO_SPACES | {"providers": {"m": {"space": "a", "upstream": "openai", "apiKeySecret": {
            "name": "n"}}}}, "providers.m",
    ),
    "nothing to serve": ({"operator": {"enabled": False}, "demo": {"enabled": False}}, "routes"),
    "a test of no route": ({"tests": {"route": "none"}}, "tests.route"),
    "priority over replicas": (
        TWO_SPACES | {"operator": {"enabled": False}, "models": {"m": {
            "space": "a", "model": "m", "replicas": 2}}, "routes": {"r": {
            "space": "a", "targets": [TO_M], "strategy": "priority"}}}, "routes.r.strategy",
    ),
    "KEDA without Prometheus": (
        TWO_SPACES | {"models": {"m": {"space": "a", "model": "m", "autoscaling": {
            "maxReplicas": 3, "by": "ScaledObject"}}}}, "prometheusUrl",
    ),
    "zero without KEDA": (
        TWO_SPACES | {"models": {"m": {"space": "a", "model": "m", "autoscaling": {
            "maxReplicas": 3, "minReplicas": 0}}}}, "minReplicas",
    ),
    "fewer than the fewest": (
        TWO_SPACES | {"models": {"m": {"space": "a", "model": "m", "autoscaling": {
            "maxReplicas": 3, "minReplicas": 4}}}}, "maxReplicas",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "named"), REASONED.values(), ids=REASONED)
def test_the_chart_refuses(values: dict[str, Any], named: str) -> None:
    """What cannot work is refused in one sentence that names the value."""
    with pytest.raises(helm_python.HelmRenderError, match=named.replace(".", r"\.")):
        charts.render(values)


ADDRESSES = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
OPENED = {
    "by gateways": {"gateways": ADDRESSES},
    "by clients' addresses": {"clients": ADDRESSES},
    "without policies": {"enabled": False},
}


@pytest.mark.parametrize("policies", OPENED.values(), ids=OPENED)
def test_a_load_balancer_is_taken(policies: dict[str, Any]) -> None:
    """Once somebody outside may come, or nothing is denied, the Service is rendered."""
    values = {"router": {"service": {"type": "LoadBalancer"}}, "networkPolicy": policies}
    assert charts.render(values).get("Service", "router")["spec"]["type"] == "LoadBalancer"


def test_a_long_release_name_is_refused() -> None:
    """Names of pods would not fit into labels; better said at once than by a stuck workload."""
    with pytest.raises(helm_python.HelmRenderError, match="36 characters"):
        charts.chart().render({}, name="r" * 37, namespace="n")
