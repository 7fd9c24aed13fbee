"""Ready means that requests are answered, and SpaceVerified that vectors were seen."""

from typing import Any

import pytest

from embedway_operator.plan import plan
from embedway_operator.routers import report_of
from embedway_operator.standing import Standings
from embedway_operator.writes import Emit
from tests.routing_operator.worlds import LOCAL, MODEL, PROVIDER, REMOTE, SPACE, a_world, settle
from tests.support.fake_cluster import World

RESOURCES = (
    ("VectorSpace", "qwen"),
    ("EmbeddingModel", "local"),
    ("EmbeddingRoute", "qwen"),
)


@pytest.fixture
def world() -> World:
    made = a_world()
    made.cluster.remove("EmbeddingProvider", "remote")
    made.declare("EmbeddingRoute", "qwen", {"space": "qwen", "targets": [LOCAL]})
    settle(made)
    return made


@pytest.mark.parametrize(("kind", "name"), RESOURCES)
def test_what_no_router_can_reach_is_not_ready(world: World, kind: str, name: str) -> None:
    """Pods and standings may be as they should be: a target that is down on one router is told."""
    assert world.condition(kind, name, "Ready")[0] == "True"
    world.down = {"router-1": {"model.local"}}
    settle(world)
    status, reason, message = world.condition(kind, name, "Ready")
    assert (status, reason) == ("False", "TargetsDown")
    assert "router-1" in message
    assert "router-0" not in message
    assert world.condition(kind, name, "Programmed")[0] == "True"
    world.down = {}
    settle(world)
    assert world.condition(kind, name, "Ready")[0] == "True"


def test_a_route_is_ready_while_every_router_has_one_target_that_is_up() -> None:
    """Not the same one: two routers may each see another half of the targets."""
    world = a_world()
    world.down = {"router-0": {"model.local"}, "router-1": {"provider.remote"}}
    settle(world)
    assert world.condition("EmbeddingRoute", "qwen", "Ready")[0] == "True"
    assert world.condition("EmbeddingModel", "local", "Ready")[1] == "TargetsDown"
    world.down["router-1"].add("model.local")
    settle(world)
    assert world.condition("EmbeddingRoute", "qwen", "Ready")[1] == "TargetsDown"


def test_that_a_target_is_down_takes_no_route_out_of_the_file(world: World) -> None:
    """The condition tells; who may serve is the routers' own matter."""
    before = world.configuration()
    world.down = {name: {"model.local"} for name in world.routers}
    settle(world)
    assert world.configuration() == before


@pytest.mark.parametrize(("kind", "name"), RESOURCES)
def test_a_trusted_target_is_not_verified_before_its_vectors_were_seen(
    world: World, kind: str, name: str
) -> None:
    """Unknown, NotMeasured, until routers have seen the golden texts' vectors."""
    world.unmeasured = {"model.local"}
    settle(world)
    status, reason, message = world.condition(kind, name, "SpaceVerified")
    assert (status, reason) == ("Unknown", "NotMeasured")
    assert "model.local" in message
    assert "qwen" in world.configuration()["routes"]
    world.unmeasured = set()
    settle(world)
    assert world.condition(kind, name, "SpaceVerified")[:2] == ("True", "Verified")


def test_a_space_that_asks_for_no_verification_says_so(world: World) -> None:
    """Nothing is ever seen there, which is no matter of waiting."""
    world.declare("VectorSpace", "qwen", {**SPACE, "verification": {"enabled": False}})
    world.unmeasured = {"model.local"}
    settle(world)
    assert world.condition("VectorSpace", "qwen", "SpaceVerified")[:2] == (
        "Unknown",
        "VerificationOff",
    )


def answer(**flags: Any) -> dict[str, Any]:
    target = {"space": "qwen", "standing": "verified", **flags}
    return {"generation": 1, "hash": "sha256:ab", "targets": {"model.local": target}}


def test_the_flags_of_a_router_are_read_as_they_are() -> None:
    """True is true and nothing else is."""
    report = report_of("r-0", answer(up=True, measured=False), is_ready=True)
    assert (report.up, report.measured) == (frozenset({"model.local"}), frozenset())
    assert report_of("r-0", answer(up="yes", measured=1), is_ready=True).up == frozenset()


def test_a_router_of_an_earlier_release_is_not_made_to_say_more_than_it_does() -> None:
    """It tells of no target that is up or measured: that is neither down nor verified."""
    standings = Standings([report_of("r-0", answer(), is_ready=True)])
    assert standings.down_at(["model.local"]) == []
    assert standings.seen("model.local") == "untold"
    assert standings.of("model.local") == "verified"


@pytest.mark.parametrize("url", ["ftp://example.com/v1", "grpc://example.com:8001", "example.com"])
def test_a_provider_with_an_address_that_is_not_http_is_refused_in_words(url: str) -> None:
    """The definition's schema lets any text pass; the condition says what it should be."""
    world = a_world()
    world.declare("EmbeddingProvider", "remote", {**PROVIDER, "url": url})
    settle(world)
    status, reason, message = world.condition("EmbeddingProvider", "remote", "Accepted")
    assert (status, reason) == ("False", "Invalid")
    assert "begins with https:// or http://" in message
    assert "provider.remote" not in world.configuration()["targets"]
    assert (
        f"EmbeddingProvider {REMOTE['name']}"
        in world.condition("EmbeddingRoute", "qwen", "ResolvedRefs")[2]
    )


def test_a_cluster_without_disruption_budgets_is_told_of() -> None:
    """The model serves, so it is Ready; the message says what it lacks."""
    world = a_world(absent=frozenset({"PodDisruptionBudget"}))
    settle(world)
    status, _, message = world.condition("EmbeddingModel", "local", "Ready")
    assert status == "True"
    assert "no PodDisruptionBudget of policy/v1" in message
    assert plan(world.look()).writes == ()


def test_a_cluster_without_the_autoscaler_that_is_wished_is_told_of() -> None:
    """Not Ready, with the version that is looked for, and an Event."""
    world = a_world(absent=frozenset({"HorizontalPodAutoscaler"}))
    settle(world)
    world.declare("EmbeddingModel", "local", {**MODEL, "autoscaling": {"maxReplicas": 3}})
    events = [one.body for one in plan(world.look()).writes if isinstance(one, Emit)]
    settle(world)
    status, reason, message = world.condition("EmbeddingModel", "local", "Ready")
    assert (status, reason) == ("False", "ObjectsNotMade")
    assert "no HorizontalPodAutoscaler of autoscaling/v2" in message
    told = [one["message"] for (kind, _), one in world.cluster.objects.items() if kind == "Event"]
    told += [one["message"] for one in events]
    assert any("autoscaling/v2" in one for one in told)
