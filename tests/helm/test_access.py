"""Who may reach whom, and what the operator may do."""

import dataclasses
import itertools
from typing import Any

import pytest
import yaml

from embedway_operator.__main__ import installation_of
from embedway_operator.names import Installation
from tests.support import charts

ALL = charts.SCENARIOS
READ = ["get", "list", "watch"]
APPLY = ["get", "list", "create", "patch"]
KINDS = ["vectorspaces", "embeddingmodels", "embeddingproviders", "embeddingroutes",
         "embeddingtenants", "vectorspacemigrations"]  # fmt: skip
# All that the operator may do: (group, resource, named objects) → verbs.
MAY: dict[tuple[str, str, tuple[str, ...]], list[str]] = {
    **{("embedway.dev", kind, ()): READ for kind in KINDS},
    **{("embedway.dev", f"{kind}/status", ()): ["patch"] for kind in KINDS},
    ("apps", "deployments", ()): [*READ, "create", "patch"],
    ("", "services", ()): APPLY,
    ("", "persistentvolumeclaims", ()): APPLY,
    ("policy", "poddisruptionbudgets", ()): [*APPLY, "delete"],
    ("autoscaling", "horizontalpodautoscalers", ()): [*APPLY, "delete"],
    ("keda.sh", "scaledobjects", ()): [*APPLY, "delete"],
    ("batch", "jobs", ()): [*READ, "create", "patch", "delete"],
    ("", "configmaps", ()): [*READ, "create"],
    ("", "configmaps", ("demo-router-config",)): ["patch"],
    ("", "secrets", ()): ["get", "create"],
    ("", "secrets", ("demo-router-secrets",)): ["patch"],
    ("", "pods", ()): READ,
    ("coordination.k8s.io", "leases", ()): ["get", "create", "update"],
    ("", "events", ()): ["create"],
}


def test_the_operator_may_do_this_and_no_more() -> None:
    """Its Role is this table: no wildcard, no list of Secrets, nothing outside its namespace."""
    [role] = charts.rendered("default").of("Role")
    found = {
        (group, resource, tuple(rule.get("resourceNames", ()))): rule["verbs"]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert found == MAY
    kinds = {one["kind"] for name in ALL for one in charts.rendered(name).objects}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


def test_the_operator_needs_all_of_it() -> None:
    """The operator's own list of what it needs is the same, but for the names of what it writes."""
    needed: dict[tuple[str, str], set[str]] = {}
    for rule in yaml.safe_load((charts.ROOT / "deploy/operator/rbac.yaml").read_text("utf-8")):
        for group, resource in itertools.product(rule["apiGroups"], rule["resources"]):
            needed.setdefault((group, resource), set()).update(rule["verbs"])
    may: dict[tuple[str, str], set[str]] = {}
    for (group, resource, _), verbs in MAY.items():
        may.setdefault((group, resource), set()).update(verbs)
    assert may == needed


def test_only_the_operator_has_the_role() -> None:
    """The binding names one account, that of the operator's pods; without it there is no Role."""
    rendered = charts.rendered("default")
    [binding] = rendered.of("RoleBinding")
    account = rendered.get("Deployment", "operator")["spec"]["template"]["spec"][
        "serviceAccountName"
    ]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account, "namespace": charts.NAMESPACE}
    ]
    without = charts.rendered("cpu-static")
    assert [*without.of("Role"), *without.of("RoleBinding")] == []


def test_the_operator_is_told_where_it_is() -> None:
    """Namespace, release and its own name come as environment variables."""
    pod = charts.rendered("default").get("Deployment", "operator")["spec"]["template"]["spec"]
    environment = {one["name"]: one for one in pod["containers"][0]["env"]}
    assert environment["EMBEDWAY_RELEASE"]["value"] == charts.RELEASE
    for name, field in (
        ("EMBEDWAY_NAMESPACE", "metadata.namespace"),
        ("POD_NAME", "metadata.name"),
    ):
        assert environment[name]["valueFrom"] == {"fieldRef": {"fieldPath": field}}


def test_the_operator_is_told_what_to_ask_of_models() -> None:
    """How long a new pod serves before a roll goes on, and whether models have budgets."""

    def told(triton: dict[str, Any]) -> Installation:
        operator = charts.render({"triton": triton}).get("Deployment", "operator")
        container = operator["spec"]["template"]["spec"]["containers"][0]
        own = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        return installation_of({"EMBEDWAY_NAMESPACE": charts.NAMESPACE, **own})

    meant = Installation(charts.NAMESPACE, charts.RELEASE, min_ready_s=15)
    assert told({}) == meant
    assert told({"drain": {"propagationSeconds": 40}}) == dataclasses.replace(meant, min_ready_s=40)
    assert told({"podDisruptionBudget": {"enabled": False}}) == dataclasses.replace(
        meant, has_disruption_budgets=False
    )


def test_the_operators_template_is_the_charts_own_pod() -> None:
    """But for the model it is the pod that the chart makes without the operator, GPUs as well."""
    name = "embedway.dev/model"
    model = {"space": "all-minilm-l6-v2", "model": "all_minilm_l6_v2"}
    demo = charts.merged(
        charts.scenario("cpu-static"), {"models": {"all-minilm-l6-v2": model | {"gpus": 1}}}
    )
    text = charts.rendered("default").get("ConfigMap", "operator-templates")["data"][
        "triton-pod.yaml"
    ]
    static = charts.render(demo).get("StatefulSet", "triton-all-minilm-l6-v2")
    own_text = yaml.safe_dump(static["spec"]["template"]).replace("all_minilm_l6_v2", "MODEL")
    own = yaml.safe_load(own_text)
    del own["metadata"]["labels"][name]
    for spread in own["spec"]["topologySpreadConstraints"]:
        del spread["labelSelector"]["matchLabels"][name]
    assert yaml.safe_load(text) == own


def reachable(
    rendered: charts.Rendered, source: dict[str, str], target: dict[str, str], port: int
) -> bool:
    """Whether policies let a pod with some labels reach another's port."""

    def selected(direction: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        return [
            one["spec"]
            for one in rendered.of("NetworkPolicy")
            if direction.capitalize() in one["spec"]["policyTypes"]
            and one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        ]

    def opens(direction: str, peers: str, here: dict[str, str], there: dict[str, str]) -> bool:
        policies = selected(direction, here)
        rules = [rule for policy in policies for rule in policy.get(direction, [])]
        return not policies or any(
            any(one["port"] == port for one in rule["ports"])
            and any(_matches(peer, there) for peer in rule.get(peers, [{"podSelector": {}}]))
            for rule in rules
        )

    return opens("egress", "to", source, target) and opens("ingress", "from", target, source)


def _matches(peer: dict[str, Any], labels: dict[str, str]) -> bool:
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        chosen = peer["namespaceSelector"].get("matchLabels", {})
        if not chosen.items() <= {"kubernetes.io/metadata.name": _namespace(labels)}.items():
            return False
    elif _namespace(labels) != charts.NAMESPACE:
        return False
    wanted = peer.get("podSelector", {}).get("matchLabels", {})
    return bool(wanted.items() <= labels.items())


def _namespace(labels: dict[str, str]) -> str:
    """Where a pod of these labels is: in the release's namespace, unless they say otherwise."""
    return labels.get("of-namespace", charts.NAMESPACE)


def labels(component: str) -> dict[str, str]:
    if component == "elsewhere":
        return {"of-namespace": "elsewhere"}
    ours = {"app.kubernetes.io/name": "embedway", "app.kubernetes.io/instance": charts.RELEASE}
    return {**ours, "app.kubernetes.io/component": component} if component != "stranger" else {}


REACH = [
    ("stranger", "router", 8080, True),
    ("stranger", "router", 8081, True),
    ("test", "router", 8080, True),
    ("operator", "router", 8080, True),
    ("overlap", "router", 8080, True),
    ("overlap", "triton", 8001, False),
    ("overlap", "stranger", 443, False),
    ("router", "triton", 8001, True),
    ("elsewhere", "router", 8080, False),
    ("elsewhere", "router", 8081, False),
    ("elsewhere", "triton", 8002, False),
    ("stranger", "triton", 8002, False),
    ("stranger", "triton", 8001, False),
    ("stranger", "triton", 8000, False),
    ("router", "triton", 8000, False),
    ("test", "triton", 8001, False),
    ("operator", "triton", 8001, False),
    ("stranger", "operator", 8080, False),
    ("triton", "router", 8080, False),
    ("router", "router", 8080, False),
    ("test", "stranger", 5432, False),
    ("router", "stranger", 5432, False),
]


@pytest.mark.parametrize(("source", "target", "port", "may"), REACH)
def test_policies_open_what_the_work_needs(
    source: str, target: str, port: int, *, may: bool
) -> None:
    """Clients reach routers, routers reach Triton, and nobody reaches anything else."""
    assert reachable(charts.rendered("default"), labels(source), labels(target), port) is may


def test_routers_reach_postgresql_only_where_it_is_used() -> None:
    """With PostgreSQL its port is open, to the peers that are named."""
    rendered = charts.rendered("postgresql-ha")
    assert reachable(rendered, labels("router"), {"app": "postgresql"}, 5432)
    assert not reachable(rendered, labels("router"), {"app": "other"}, 5432)


def test_clients_can_be_named() -> None:
    """Who is not among the named clients is kept out."""
    named = charts.render(
        {"networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "a"}}}]}}
    )
    assert reachable(named, {"app": "a"}, labels("router"), 8080)
    assert reachable(named, {"app": "a"}, labels("router"), 8081)
    assert not reachable(named, {"app": "b"}, labels("router"), 8081)


def test_prometheus_can_be_named() -> None:
    """Who is named reads metrics of routers and of Triton, and does not reach gRPC by it."""
    rendered = charts.rendered("everything")
    prometheus = {"of-namespace": "monitoring"}
    assert reachable(rendered, prometheus, labels("router"), 8080)
    assert reachable(rendered, prometheus, labels("triton"), 8002)
    assert not reachable(rendered, prometheus, labels("router"), 8081)
    assert not reachable(rendered, labels("elsewhere"), labels("router"), 8080)


@pytest.mark.parametrize("name", [name for name in ALL if name != "minimal"])
def test_every_pod_is_denied_by_default(name: str) -> None:
    """Default-deny is for both directions, opens nothing, and selects each pod of the release."""
    rendered = charts.rendered(name)
    deny = rendered.get("NetworkPolicy", "default-deny")["spec"]
    assert set(deny) == {"policyTypes", "podSelector"}
    assert sorted(deny["policyTypes"]) == ["Egress", "Ingress"]
    for whose, pod in rendered.pods():
        assert deny["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), (
            whose
        )
