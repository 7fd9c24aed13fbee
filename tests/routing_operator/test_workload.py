"""A model's objects where its pods share a volume, and what the installation asks of all models."""

import dataclasses
from typing import Any

import pytest
import yaml

from embedway_operator.__main__ import installation_of
from embedway_operator.names import Installation
from router.domain.errors import ConfigurationError
from tests.routing_operator.worlds import MODEL, a_world, settle
from tests.support.fake_cluster import POD, World

SURGES = {"maxUnavailable": 0, "maxSurge": 1}
GOES_FIRST = {"maxUnavailable": 1, "maxSurge": 0}
RULES = "requiredDuringSchedulingIgnoredDuringExecution"


def deployment(world: World, **wishes: Any) -> dict[str, Any]:
    """The spec of the Deployment of a model with these wishes."""
    world.declare("EmbeddingModel", "local", {**MODEL, **wishes})
    settle(world)
    spec: dict[str, Any] = world.cluster.objects["Deployment", "rel-triton-local"]["spec"]
    return spec


def companions(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Rules by which its pods have to be beside others."""
    affinity = spec["template"]["spec"].get("affinity") or {}
    found: list[dict[str, Any]] = affinity.get("podAffinity", {}).get(RULES, [])
    return found


CACHES: dict[str, tuple[Any, dict[str, int]]] = {
    "none": (None, SURGES),
    "by default": ({"size": "20Gi"}, GOES_FIRST),
    "of one node": ({"size": "20Gi", "accessMode": "ReadWriteOnce"}, GOES_FIRST),
    "of many": ({"size": "20Gi", "accessMode": "ReadWriteMany"}, SURGES),
    "there already": ({"size": "20Gi", "existingClaim": "mine"}, GOES_FIRST),
    "there already, of many": (
        {"size": "20Gi", "existingClaim": "mine", "accessMode": "ReadWriteMany"}, SURGES,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("cache", "rolls"), CACHES.values(), ids=CACHES)
def test_a_roll_never_waits_for_a_volume_in_use(cache: Any, rolls: dict[str, int]) -> None:
    """The old pod goes before the new one where one node alone may have the volume."""
    spec = deployment(a_world(), cache=cache)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolls}


SEVERAL = {"replicas": 2}, {"autoscaling": {"maxReplicas": 4}}


@pytest.mark.parametrize("several", SEVERAL, ids=["replicas", "autoscaled"])
def test_replicas_share_a_node_where_its_volume_is_of_one(several: dict[str, Any]) -> None:
    """Each pod has to be where the model's others are, and only there can it have the volume."""
    world = a_world()
    spec = deployment(world, cache={"size": "20Gi"}, **several)
    [rule] = companions(spec)
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    # The same pods that the Deployment has, and thus the first one as well: it finds a node.
    assert rule["labelSelector"] == spec["selector"]
    many = {"size": "20Gi", "accessMode": "ReadWriteMany"}
    assert companions(deployment(world, cache=many, **several)) == []
    assert companions(deployment(world, cache=None, **several)) == []


def test_a_single_replica_may_leave_its_node() -> None:
    """It is held to no other pod, of which one on a node that died would be the only one."""
    assert companions(deployment(a_world(), cache={"size": "20Gi"})) == []


def test_the_charts_own_affinity_stays() -> None:
    """What the template asks for is kept beside it."""
    world = a_world()
    pod = yaml.safe_load(POD)
    theirs = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "index"}}}
    node = {RULES: {"nodeSelectorTerms": []}}
    pod["spec"]["affinity"] = {"nodeAffinity": node, "podAffinity": {RULES: [theirs]}}
    templates = world.cluster.objects["ConfigMap", "rel-operator-templates"]
    templates["data"]["triton-pod.yaml"] = yaml.safe_dump(pod)
    spec = deployment(world, cache={"size": "20Gi"}, replicas=2)
    assert spec["template"]["spec"]["affinity"]["nodeAffinity"] == node
    assert companions(spec)[0] == theirs
    assert len(companions(spec)) == 2


def test_a_roll_goes_on_once_routers_could_take_the_new_pod_up() -> None:
    """A new pod has to serve for as long as the installation says before the next one goes."""
    world = a_world()
    world.installation = dataclasses.replace(world.installation, min_ready_s=15)
    assert deployment(world)["minReadySeconds"] == 15


def test_budgets_come_and_go_with_the_installations_wish() -> None:
    """Without the wish none is made, and the one that was made is deleted."""
    world = a_world()
    settle(world)
    place = "PodDisruptionBudget", "rel-triton-local"
    assert world.cluster.objects[place]["spec"]["maxUnavailable"] == 1
    wishing = world.installation
    world.installation = dataclasses.replace(wishing, has_disruption_budgets=False)
    settle(world)
    assert place not in world.cluster.objects
    world.installation = wishing
    settle(world)
    assert place in world.cluster.objects


ENVIRONMENT = {"EMBEDWAY_NAMESPACE": "ns", "EMBEDWAY_RELEASE": "rel"}


def test_the_environment_says_which_installation_is_meant() -> None:
    """What is left out is what an older chart meant: no wait, and budgets."""
    assert installation_of(ENVIRONMENT) == Installation("ns", "rel")
    told = {"EMBEDWAY_MIN_READY_S": "15", "EMBEDWAY_DISRUPTION_BUDGETS": "0"}
    wanted = Installation("ns", "rel", min_ready_s=15, has_disruption_budgets=False)
    assert installation_of(ENVIRONMENT | told) == wanted


@pytest.mark.parametrize(
    "wrong",
    [{"EMBEDWAY_MIN_READY_S": "15s"}, {"EMBEDWAY_MIN_READY_S": ""}, {"EMBEDWAY_RELEASE": ""}],
)
def test_a_wrong_environment_is_a_sentence(wrong: dict[str, str]) -> None:
    """The operator ends and names the variable."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        installation_of(ENVIRONMENT | wrong)
