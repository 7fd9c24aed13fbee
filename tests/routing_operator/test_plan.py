"""What the operator makes of resources, and what it says of them."""

import copy
from typing import Any

import pytest
import yaml

from embedway_operator.plan import plan
from embedway_operator.writes import Apply, Emit
from router.config.load import parse_settings
from tests.routing_operator.worlds import (
    LOCAL,
    MODEL,
    PROVIDER,
    REMOTE,
    ROUTE,
    SPACE,
    TENANT,
    a_world,
    settle,
    target,
)  # fmt: skip
from tests.support.fake_cluster import World


def conditions(world: World, kind: str, name: str) -> dict[str, str]:
    found = world.cluster.objects[kind, name]["status"]["conditions"]
    return {one["type"]: one["status"] for one in found}


def files(world: World) -> list[str]:
    """What routers' Secret holds, without the values' hashes."""
    data = world.cluster.objects["Secret", "rel-router-secrets"]["data"]
    return sorted(name.rpartition(".")[0] for name in data)


def changed(spec: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(spec), **fields}


@pytest.fixture
def world() -> World:
    made = a_world()
    settle(made)
    return made


def test_everything_comes_up_and_says_so(world: World) -> None:
    """A whole set of resources ends with every condition true and nothing left to write."""
    for kind, name in (
        ("VectorSpace", "qwen"), ("EmbeddingModel", "local"), ("EmbeddingProvider", "remote"),
        ("EmbeddingRoute", "qwen"), ("EmbeddingTenant", "acme"),
    ):  # fmt: skip
        assert set(conditions(world, kind, name).values()) == {"True"}, (kind, name)
    assert plan(world.look()).writes == ()


def test_the_configuration_is_what_a_router_takes(world: World) -> None:
    """The file validates, and holds the base, the targets, the route and where secrets lie."""
    text = world.cluster.objects["ConfigMap", "rel-router-config"]["data"]["embedway.yaml"]
    settings = parse_settings(text, "test")
    assert settings.server.host == "0.0.0.0"
    assert settings.generation >= 1
    assert settings.targets["model.local"].url == "grpc://rel-triton-local.ns.svc:8001"
    path = str(settings.targets["provider.remote"].api_key.file)  # type: ignore[union-attr]
    assert path.startswith("/etc/embedway/secrets/provider.key.")
    assert settings.routes["qwen"].targets == ["model.local", "provider.remote"]
    assert settings.spaces["qwen"].verification.reference == "model.local"
    assert files(world) == ["acme.key", "provider.key"]


def test_no_secret_value_stands_in_the_configuration(world: World) -> None:
    """ConfigMaps are read by many; they hold paths."""
    text = yaml.safe_dump(world.cluster.objects["ConfigMap", "rel-router-config"])
    assert "sk-of-a-provider" not in text
    assert "ew-of-a-tenant" not in text


def test_programmed_waits_for_every_ready_router() -> None:
    """One router that still serves the last configuration keeps Programmed false."""
    world = a_world()
    for _ in range(4):
        world.write(plan(world.look()).writes)
    assert world.condition("EmbeddingTenant", "acme", "Programmed")[:2] == ("False", "Pending")
    world.take()
    settle(world)
    assert world.condition("EmbeddingTenant", "acme", "Programmed")[0] == "True"


def test_a_router_that_refuses_is_quoted(world: World) -> None:
    """Its own sentence is the message, under the reason RouterRefused."""
    world.pending_error = "the tokenizer of qwen cannot be read"
    world.declare("EmbeddingRoute", "qwen", changed(ROUTE, strategy="fastest"))
    for _ in range(3):
        world.write(plan(world.look()).writes)
    status, reason, message = world.condition("EmbeddingRoute", "qwen", "Programmed")
    assert (status, reason) == ("False", "RouterRefused")
    assert "tokenizer of qwen" in message


def test_what_did_not_change_stays_programmed_through_another_change(world: World) -> None:
    """A change of one route says nothing of a tenant that every router serves already."""
    world.declare("EmbeddingRoute", "qwen", changed(ROUTE, strategy="fastest"))
    for _ in range(3):
        world.write(plan(world.look()).writes)
    assert world.condition("EmbeddingTenant", "acme", "Programmed")[0] == "True"
    assert world.condition("EmbeddingRoute", "qwen", "Programmed")[0] == "False"


def test_no_ready_router_means_not_programmed(world: World) -> None:
    """Nobody acknowledges, so nothing is said to be served."""
    world.routers = []
    world.write(plan(world.look()).writes)
    assert world.condition("EmbeddingRoute", "qwen", "Programmed")[:2] == ("False", "NoRouters")


@pytest.mark.parametrize(
    ("kind", "name", "spec", "reason", "words"),
    [
        pytest.param(
            "EmbeddingRoute", "other", {"space": "other", "targets": [LOCAL]},
            "VectorSpaceMismatch", "model.local (qwen)", id="a target of another space",
        ),
        pytest.param(
            "EmbeddingRoute", "qwen", changed(ROUTE, space="other"),
            "VectorSpaceMismatch", "of another space", id="a route that moves to another space",
        ),
        pytest.param(
            "VectorSpace", "qwen", changed(SPACE, dimensions=1024),
            "VectorSpaceMismatch", "dimensions", id="another identity under the same name",
        ),
        pytest.param(
            "EmbeddingModel", "local", changed(MODEL, space="other"),
            "VectorSpaceMismatch", "it serves qwen", id="a model that moves to another space",
        ),
        pytest.param(
            "EmbeddingProvider", "remote", changed(PROVIDER, profile="nobody"),
            "Invalid", "profile: there are only", id="a profile that is not there",
        ),
        pytest.param(
            "EmbeddingModel", "local", changed(MODEL, maxInputsPerCall=1),
            "Invalid", "greater than or equal to 2", id="a limit that makes no sense",
        ),
        pytest.param(
            "EmbeddingRoute", "twin", changed(ROUTE, modelName="qwen"),
            "NameTaken", "older resource", id="a model name that is taken",
        ),
        pytest.param(
            "EmbeddingTenant", "acme",
            changed(TENANT, quotas=[{"unit": "tokens", "limit": 1.5, "window": "day"}]),
            "Invalid", "whole number", id="half a token",
        ),
    ],
)  # fmt: skip
def test_a_bad_resource_is_refused_and_the_rest_goes_on(
    world: World, kind: str, name: str, spec: dict[str, Any], reason: str, words: str
) -> None:
    """Its condition says why, and the configuration is what it was."""
    world.declare("VectorSpace", "other", SPACE)
    settle(world)
    before = world.configuration()
    world.declare(kind, name, spec)
    settle(world)
    status, told, message = world.condition(kind, name, "Accepted")
    assert (status, told) == ("False", reason)
    assert words in message
    assert world.condition(kind, name, "Ready")[0] == "False"
    assert world.configuration() == before


def test_a_refused_change_heals_with_its_spec(world: World) -> None:
    """What is put right is taken."""
    world.declare("EmbeddingModel", "local", changed(MODEL, maxInputsPerCall=1))
    settle(world)
    world.declare("EmbeddingModel", "local", changed(MODEL, maxInputsPerCall=64))
    settle(world)
    assert world.condition("EmbeddingModel", "local", "Ready")[0] == "True"
    assert world.configuration()["targets"]["model.local"]["max_inputs_per_call"] == 64


def test_a_quarantined_target_refuses_its_routes_and_they_keep_what_they_had(world: World) -> None:
    """Routers skip the target; the route says VectorSpaceMismatch and keeps being served."""
    world.standings["provider.remote"] = "quarantined"
    settle(world)
    assert world.condition("EmbeddingRoute", "qwen", "Accepted")[1] == "VectorSpaceMismatch"
    assert world.condition("EmbeddingProvider", "remote", "SpaceVerified")[:2] == (
        "False",
        "VectorSpaceMismatch",
    )
    assert "qwen" in world.configuration()["routes"]


def test_a_new_route_to_unverified_targets_is_left_out_until_one_is_verified(world: World) -> None:
    """No vector is served under a name before routers found it to be of the space."""
    world.standings["model.local"] = "unverified"
    world.declare("EmbeddingRoute", "new", {"space": "qwen", "targets": [LOCAL]})
    settle(world)
    assert world.condition("EmbeddingRoute", "new", "Accepted")[1] == "VectorSpaceUnverified"
    assert "new" not in world.configuration()["routes"]
    world.standings.clear()
    settle(world)
    assert world.condition("EmbeddingRoute", "new", "Ready")[0] == "True"


def test_a_missing_target_is_named_and_the_others_serve(world: World) -> None:
    """ResolvedRefs is false with the name; the route goes on with what is there."""
    world.cluster.remove("EmbeddingProvider", "remote")
    settle(world)
    status, _, message = world.condition("EmbeddingRoute", "qwen", "ResolvedRefs")
    assert status == "False"
    assert "EmbeddingProvider remote" in message
    assert world.configuration()["routes"]["qwen"]["targets"] == ["model.local"]


def test_the_secret_of_a_deleted_provider_goes_once_no_router_needs_it(world: World) -> None:
    """It stays while the old configuration is served, and is gone when the new one is."""
    world.cluster.remove("EmbeddingProvider", "remote")
    world.write(plan(world.look()).writes)
    assert files(world) == ["acme.key", "provider.key"]
    settle(world)
    assert files(world) == ["acme.key"]


@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_a_provider_without_its_secret_is_left_out(world: World, value: str | None) -> None:
    """Routers refuse a file that names a missing secret, so it never gets there."""
    if value is None:
        world.cluster.remove("Secret", "provider")
    else:
        world.secret("provider", key=value)
    settle(world)
    assert "Secret provider" in world.condition("EmbeddingProvider", "remote", "ResolvedRefs")[2]
    assert "provider.remote" not in world.configuration()["targets"]


def test_a_key_that_two_tenants_share_belongs_to_the_older_one(world: World) -> None:
    """The second is told; a router would refuse the whole file."""
    world.secret("copy", key="ew-of-a-tenant-0123456789")
    world.declare("EmbeddingTenant", "zeta", {"keys": [{"name": "k", "secret": {"name": "copy"}}]})
    settle(world)
    message = world.condition("EmbeddingTenant", "zeta", "ResolvedRefs")[2]
    assert "same as key first of acme" in message
    assert world.configuration()["tenants"]["zeta"]["keys"] == []


def test_a_deleted_space_goes_on_until_nothing_is_in_it(world: World) -> None:
    """Its targets and routes keep it in the configuration; the last of them takes it along."""
    world.cluster.remove("VectorSpace", "qwen")
    settle(world)
    assert world.configuration()["spaces"]["qwen"]["dimensions"] == 2560
    world.cluster.remove("EmbeddingRoute", "qwen")
    world.cluster.remove("EmbeddingModel", "local")
    world.cluster.remove("EmbeddingProvider", "remote")
    settle(world)
    assert world.configuration()["spaces"] == {}


def test_a_deleted_space_cannot_come_back_as_another(world: World) -> None:
    """Deleting and making anew is no way round the immutable identity."""
    world.cluster.remove("VectorSpace", "qwen")
    world.declare("VectorSpace", "qwen", changed(SPACE, model="another/model"))
    settle(world)
    assert world.condition("VectorSpace", "qwen", "Accepted")[1] == "VectorSpaceMismatch"
    assert world.configuration()["spaces"]["qwen"]["model"] == SPACE["model"]


def test_a_model_made_anew_in_another_space_is_taken_after_its_predecessor_is_out(
    world: World,
) -> None:
    """Between the two there is a configuration without it."""
    world.declare("VectorSpace", "other", SPACE)
    settle(world)
    world.cluster.remove("EmbeddingModel", "local")
    world.declare("EmbeddingModel", "local", changed(MODEL, space="other"))
    world.write(plan(world.look()).writes)
    assert "model.local" not in world.configuration()["targets"]
    world.take()
    settle(world)
    assert world.configuration()["targets"]["model.local"]["space"] == "other"
    assert world.condition("EmbeddingRoute", "qwen", "Accepted")[1] == "VectorSpaceMismatch"
    assert world.configuration()["routes"]["qwen"]["targets"] == ["provider.remote"]


def test_the_reference_of_a_space_does_not_follow_the_alphabet(world: World) -> None:
    """A new target with an earlier name does not become what the others are compared with."""
    world.declare("EmbeddingModel", "aaa", MODEL)
    settle(world)
    assert world.configuration()["spaces"]["qwen"]["verification"]["reference"] == "model.local"


def test_a_wished_reference_is_taken(world: World) -> None:
    """`reference` names the target whose vectors define the space."""
    world.declare("VectorSpace", "qwen", changed(SPACE, reference=REMOTE))
    settle(world)
    checks = world.configuration()["spaces"]["qwen"]["verification"]
    assert checks["reference"] == "provider.remote"


def test_the_number_grows_only_with_the_content(world: World) -> None:
    """Looking again writes nothing; a change adds one, and the bytes are the same for the same."""
    number = world.configuration()["generation"]
    settle(world)
    assert world.configuration()["generation"] == number
    world.declare("EmbeddingRoute", "qwen", changed(ROUTE, strategy="fastest"))
    settle(world)
    assert world.configuration()["generation"] == number + 1


def test_a_lost_configuration_gets_a_higher_number(world: World) -> None:
    """Routers never see two contents under one number, even where the ConfigMap was deleted."""
    world.cluster.remove("ConfigMap", "rel-router-config")
    number = world.served[1]
    settle(world)
    assert world.configuration()["generation"] == number + 1


@pytest.mark.parametrize(
    ("place", "path", "value"),
    [
        pytest.param(("Deployment", "rel-triton-local"), "spec.replicas", 7, id="replicas"),
        pytest.param(("Service", "rel-triton-local"), "spec.clusterIP", "10.0.0.1", id="address"),
        pytest.param(("ConfigMap", "rel-router-config"), "data.embedway\\.yaml", "{}", id="file"),
    ],
)
def test_drift_is_corrected(world: World, place: tuple[str, str], path: str, value: Any) -> None:
    """What somebody else changed of our own fields is set back."""
    one: Any = world.cluster.objects[place]
    *parents, last = [part.replace("\0", ".") for part in path.replace("\\.", "\0").split(".")]
    inner = one
    for parent in parents:
        inner = inner[parent]
    before, inner[last] = inner[last], value
    settle(world)
    inner = world.cluster.objects[place]
    for parent in parents:
        inner = inner[parent]
    if path.startswith("data.embedway"):
        found = {**yaml.safe_load(inner[last]), "generation": 0}
        assert found == {**yaml.safe_load(before), "generation": 0}
    else:
        assert inner[last] == before


def test_drift_of_a_value_is_corrected(world: World) -> None:
    """Under the name of a value there is never another one for long."""
    data = world.cluster.objects["Secret", "rel-router-secrets"]["data"]
    before = dict(data)
    data |= dict.fromkeys(before, "AAAA")
    settle(world)
    assert world.cluster.objects["Secret", "rel-router-secrets"]["data"] == before


def test_fields_of_others_are_left_alone(world: World) -> None:
    """An annotation that somebody set is neither taken away nor fought over."""
    deployment = world.cluster.objects["Deployment", "rel-triton-local"]
    deployment["metadata"]["annotations"]["team"] = "search"
    assert plan(world.look()).writes == ()


def test_a_pod_is_the_charts_template_completed(world: World) -> None:
    """Image, model, GPUs, cache, environment and readiness come from the resource."""
    world.declare(
        "EmbeddingModel", "local",
        changed(
            MODEL, image="mine:2", gpus=2, replicas=3, env={"A": "b"},
            cache={"size": "20Gi", "accessMode": "ReadWriteMany"},
            resources={"requests": {"cpu": "8"}}, nodeSelector={"gpu": "h100"},
        ),
    )  # fmt: skip
    settle(world)
    spec = world.cluster.objects["Deployment", "rel-triton-local"]["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert spec["replicas"] == 3
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert container["image"] == "mine:2"
    assert "--load-model=qwen3_embedding_4b" in container["args"]
    assert "--load-model=" not in container["args"]
    assert container["resources"] == {"requests": {"cpu": "8"}, "limits": {"nvidia.com/gpu": "2"}}
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/qwen3_embedding_4b/ready"
    assert {"name": "A", "value": "b"} in container["env"]
    assert pod["nodeSelector"] == {"gpu": "h100"}
    claim = {"persistentVolumeClaim": {"claimName": "rel-triton-local"}, "name": "cache"}
    assert pod["volumes"] == [claim]
    volume = world.cluster.objects["PersistentVolumeClaim", "rel-triton-local"]["spec"]
    assert volume["accessModes"] == ["ReadWriteMany"]


def test_a_model_without_gpus_asks_for_none(world: World) -> None:
    """`gpus: 0` takes the template's GPU away."""
    world.declare("EmbeddingModel", "local", changed(MODEL, gpus=0))
    settle(world)
    deployment = world.cluster.objects["Deployment", "rel-triton-local"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert "limits" not in container["resources"]


@pytest.mark.parametrize("by", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_an_autoscaler_comes_and_goes_with_the_wish(world: World, by: str) -> None:
    """It scales the resource and not the Deployment, and is deleted when it is not wanted."""
    scaling = {"by": by, "minReplicas": 1, "maxReplicas": 4, "targetWaitSeconds": 1.5}
    world.declare(
        "EmbeddingModel", "local",
        changed(MODEL, autoscaling={**scaling, "prometheusUrl": "http://prometheus:9090"}),
    )  # fmt: skip
    settle(world)
    reference = world.cluster.objects[by, "rel-triton-local"]["spec"]["scaleTargetRef"]
    assert (reference["kind"], reference["name"]) == ("EmbeddingModel", "local")
    world.declare("EmbeddingModel", "local", MODEL)
    settle(world)
    assert (by, "rel-triton-local") not in world.cluster.objects


def test_nothing_is_made_for_a_model_that_is_being_deleted() -> None:
    """Once deletionTimestamp is set, no object is created, whatever else wants it."""
    world = a_world()
    model = world.cluster.objects["EmbeddingModel", "local"]
    model["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    settle(world)
    assert not [name for name in world.cluster.objects if name[1] == "rel-triton-local"]
    assert "model.local" not in world.configuration()["targets"]


def test_objects_of_others_are_never_taken_over() -> None:
    """A Deployment of the same name that somebody else owns is left, and the model says so."""
    world = a_world()
    labels = {
        **world.installation.labels("triton"), "app.kubernetes.io/managed-by": "embedway-operator"
    }  # fmt: skip
    theirs = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "rel-triton-local", "labels": labels}, "spec": {"replicas": 9},
    }  # fmt: skip
    world.cluster.put(theirs)
    settle(world)
    assert world.cluster.objects["Deployment", "rel-triton-local"]["spec"] == {"replicas": 9}
    status, reason, message = world.condition("EmbeddingModel", "local", "Ready")
    assert (status, reason) == ("False", "ObjectsNotMade")
    assert "belongs to somebody else" in message


def test_an_older_cluster_goes_without_what_it_does_not_have() -> None:
    """Without policy/v1 there is no disruption budget, and nothing else is missing."""
    world = a_world(absent=frozenset({"PodDisruptionBudget", "ScaledObject"}))
    settle(world)
    assert world.condition("EmbeddingModel", "local", "Ready")[0] == "True"


def test_without_the_charts_base_nothing_is_written_for_routers() -> None:
    """A configuration that opens no port for anybody would be worse than the last one."""
    world = a_world()
    world.cluster.remove("ConfigMap", "rel-router-base")
    for _ in range(3):
        world.write(plan(world.look()).writes)
    assert ("ConfigMap", "rel-router-config") not in world.cluster.objects
    status, reason, message = world.condition("EmbeddingTenant", "acme", "Programmed")
    assert (status, reason) == ("False", "ConfigurationInvalid")
    assert "rel-router-base" in message


def test_a_name_of_the_charts_values_is_theirs(world: World) -> None:
    """A resource does not replace what the base configuration holds under the same name."""
    base = world.cluster.objects["ConfigMap", "rel-router-base"]
    base["data"]["base.yaml"] = "server: {host: 0.0.0.0}\ntenants: {acme: {cache: false}}\n"
    settle(world)
    assert world.condition("EmbeddingTenant", "acme", "Accepted")[1] == "NameTaken"
    assert world.configuration()["tenants"]["acme"] == {"cache": False}


def test_events_tell_of_transitions_only(world: World) -> None:
    """A settled cluster tells nothing; a refusal is told once, however often it is looked at."""
    world.declare("EmbeddingModel", "local", changed(MODEL, maxInputsPerCall=1))
    first = plan(world.look())
    told = [one.body["message"] for one in first.writes if isinstance(one, Emit)]
    assert [one for one in told if one.startswith("Accepted: ")]
    world.write(first.writes)
    assert not [one for one in plan(world.look()).writes if isinstance(one, Emit)]


def test_conditions_carry_the_generation_and_a_time_that_stands(world: World) -> None:
    """LastTransitionTime moves with the status alone, observedGeneration with every spec."""
    before = world.cluster.objects["EmbeddingRoute", "qwen"]["status"]["conditions"]
    world.clock.wall += 1000
    world.declare("EmbeddingRoute", "qwen", changed(ROUTE, strategy="fastest"))
    settle(world)
    after = world.cluster.objects["EmbeddingRoute", "qwen"]["status"]["conditions"]
    assert {one["observedGeneration"] for one in after} == {2}
    times = [(one["type"], one["lastTransitionTime"]) for one in before]
    moved = [one["type"] for one in after if (one["type"], one["lastTransitionTime"]) not in times]
    assert set(moved) == {"Programmed", "Ready"}


def test_the_configuration_is_written_onto_what_was_seen(world: World) -> None:
    """It carries the resourceVersion that the plan was made from: a stale leader loses."""
    world.declare("EmbeddingRoute", "qwen", changed(ROUTE, strategy="fastest"))
    writes = [one for one in plan(world.look()).writes if isinstance(one, Apply)]
    version = world.cluster.objects["ConfigMap", "rel-router-config"]["metadata"]
    (config,) = [one for one in writes if one.body["kind"] == "ConfigMap"]
    assert config.body["metadata"]["resourceVersion"] == version["resourceVersion"]


def test_a_rule_keeps_to_the_targets_that_are_there(world: World) -> None:
    """Targets are translated in rules as well, and a rule that would have none left goes."""
    rules = [
        {"name": "night", "when": {"fromTime": "20:00", "toTime": "06:00"}, "targets": [REMOTE]},
        {"name": "long", "when": {"minTokens": 9}, "strategy": "fastest"},
    ]
    world.declare("EmbeddingRoute", "qwen", changed(ROUTE, rules=rules))
    settle(world)
    written = world.configuration()["routes"]["qwen"]["rules"]
    assert written[0]["targets"] == ["provider.remote"]
    assert written[0]["when"] == {"from_time": "20:00", "to_time": "06:00"}
    world.cluster.remove("EmbeddingProvider", "remote")
    settle(world)
    assert [one["name"] for one in world.configuration()["routes"]["qwen"]["rules"]] == ["long"]


def test_a_route_to_nothing_is_left_out() -> None:
    """All its targets are missing: it is named in the condition, and routers do not hear of it."""
    world = a_world()
    world.declare("EmbeddingRoute", "qwen", changed(ROUTE, targets=[target(
        "EmbeddingModel", "nowhere")]))  # fmt: skip
    settle(world)
    assert world.condition("EmbeddingRoute", "qwen", "ResolvedRefs")[0] == "False"
    assert world.condition("EmbeddingRoute", "qwen", "Ready")[:2] == ("False", "NotFound")
    assert world.configuration()["routes"] == {}
