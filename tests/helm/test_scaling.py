"""Autoscalers and disruption budgets."""

import re
from typing import Any

import yaml

from tests.support import charts


def test_one_pod_may_be_drained_at_a_time() -> None:
    """Each serving workload has a budget that lets one pod go, even if there is only one."""
    rendered = charts.rendered("gpu-static")
    names = {one["metadata"]["name"] for one in rendered.of("StatefulSet")}
    assert {one["metadata"]["name"] for one in rendered.of("PodDisruptionBudget")} == names
    for one in rendered.of("PodDisruptionBudget"):
        assert one["spec"]["maxUnavailable"] == 1


def test_keda_scales_by_predicted_wait() -> None:
    """The wait is a Value, no data an error, and from zero the routers' demand wakes the model."""
    [scaled] = charts.rendered("keda").of("ScaledObject")
    spec = scaled["spec"]
    wait, demand = spec["triggers"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 3)
    assert "embedway_predicted_wait_seconds{" in wait["metadata"]["query"]
    assert wait["metadata"]["threshold"] == "1.5"
    for trigger in (wait, demand):
        assert trigger["metricType"] == "Value"
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert trigger["metadata"]["serverAddress"] == "http://prometheus.monitoring:9090"
    assert demand["metadata"]["activationThreshold"] == "0"
    assert 'route=~"Qwen/Qwen3-Embedding-0\\\\.6B"' in demand["metadata"]["query"]
    matched = re.search(r'target=~"([^"]+)"', wait["metadata"]["query"])
    assert matched is not None
    targets = yaml.safe_load(
        charts.rendered("keda").get("ConfigMap", "router-config")["data"]["embedway.yaml"]
    )["targets"]
    assert all(re.fullmatch(matched[1], target) for target in targets)


def test_a_model_never_goes_to_zero_by_itself() -> None:
    """One replica is the fewest unless zero is asked for, and only then demand is watched."""
    values = charts.scenario("keda")
    del values["models"]["qwen3-small"]["autoscaling"]["minReplicas"]
    [scaled] = charts.render(values).of("ScaledObject")
    assert scaled["spec"]["minReplicaCount"] == 1
    assert [trigger["name"] for trigger in scaled["spec"]["triggers"]] == ["predicted-wait"]


def test_what_is_scaled_has_no_number_of_its_own() -> None:
    """An upgrade does not undo what an autoscaler decided."""
    for name, workload in (("keda", "triton-qwen3-small"), ("hpa", "triton-qwen3-small"),
                           ("postgresql-ha", "router")):  # fmt: skip
        rendered = charts.rendered(name)
        assert "replicas" not in rendered.get("StatefulSet", workload)["spec"]
        scaler = [*rendered.of("ScaledObject"), *rendered.of("HorizontalPodAutoscaler")]
        assert [one["spec"]["scaleTargetRef"]["name"] for one in scaler] == [f"demo-{workload}"]


def claimed(**cache: str) -> dict[str, Any]:
    """A StatefulSet's pod of two replicas that share a claim, and an affinity of the values."""
    values = charts.scenario("gpu-static")
    values["models"]["qwen3-embedding-4b"]["cache"] = {"size": "20Gi", **cache}
    values["triton"] = {"affinity": {"nodeAffinity": {"preferred": []}}}
    [one] = charts.render(values).of("StatefulSet")[1:]
    spec: dict[str, Any] = one["spec"]
    return spec


def test_replicas_share_a_node_where_a_claim_is_of_one() -> None:
    """A claim that replicas share, of one node, holds them there; claims of their own do not."""
    spec = claimed(existingClaim="mine")
    affinity = spec["template"]["spec"]["affinity"]
    [rule] = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule == {"topologyKey": "kubernetes.io/hostname", "labelSelector": spec["selector"]}
    assert affinity["nodeAffinity"] == {"preferred": []}
    for free in (
        claimed(existingClaim="mine", accessMode="ReadWriteMany"),
        claimed(accessMode="ReadWriteOnce"),
    ):
        assert "podAffinity" not in free["template"]["spec"]["affinity"]
