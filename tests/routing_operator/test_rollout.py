"""What is said of a model while its Deployment rolls, and when that came to nothing."""

from typing import Any

import pytest

from embedway_operator.plan import plan
from tests.routing_operator.worlds import MODEL, a_world, settle
from tests.support.fake_cluster import World

PLACE = "Deployment", "rel-triton-local"
STUCK = {
    "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
    "message": 'ReplicaSet "rel-triton-local-5d4" has timed out progressing.',
}  # fmt: skip
REFUSED = {
    "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
    "message": 'pods "rel-triton-local-x" is forbidden: exceeded quota: gpus',
}  # fmt: skip
GOES_ON = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}


@pytest.fixture
def world() -> World:
    made = a_world()
    made.declare("EmbeddingModel", "local", {**MODEL, "replicas": 3})
    settle(made)
    return made


def pods(world: World, *conditions: dict[str, str], **counts: int) -> None:
    """What the Deployment's controller tells."""
    one = world.cluster.objects[PLACE]
    known = {"observedGeneration": one["metadata"]["generation"], "replicas": 3}
    one["status"] = {**known, **counts, "conditions": list(conditions)}


def look(world: World, passes: int = 3) -> tuple[str, str, str]:
    """`Ready` of the model, with pods that are as they are."""
    for _ in range(passes):
        world.write(plan(world.look()).writes)
    return world.condition("EmbeddingModel", "local", "Ready")


def test_a_rollout_that_goes_on_is_told_of(world: World) -> None:
    """The model is Ready, for replicas of before serve the same; how far it is the message says."""
    pods(world, GOES_ON, replicas=4, updatedReplicas=1, readyReplicas=3)
    status, reason, message = look(world)
    assert (status, reason) == ("True", "RollingOut")
    assert "it serves with 3 replicas" in message
    assert "1 of 3 are new, 3 of before go on" in message


def test_a_new_image_that_does_not_come_up_is_not_ready_after_the_deadline(world: World) -> None:
    """Though replicas of before are ready, and say what they are."""
    pods(world, STUCK, replicas=4, updatedReplicas=1, readyReplicas=3)
    status, reason, message = look(world)
    assert (status, reason) == ("False", "RolloutFailed")
    assert "3 replicas are ready, and 3 are of before" in message
    assert "ProgressDeadlineExceeded" in message
    assert "has timed out progressing" in message


def test_a_first_rollout_that_fails_is_no_mere_lack_of_replicas() -> None:
    """None was ever ready, and none is on its way."""
    world = a_world()
    settle(world)
    pods(world, STUCK, replicas=1, updatedReplicas=1)
    assert look(world)[1] == "RolloutFailed"


def test_pods_that_are_refused_are_told_of(world: World) -> None:
    """By the sentence of whoever refuses them, while the rollout is given time."""
    pods(world, GOES_ON, REFUSED, replicas=3, updatedReplicas=0, readyReplicas=3)
    status, reason, message = look(world)
    assert (status, reason) == ("True", "RollingOut")
    assert "exceeded quota: gpus" in message
    pods(world, GOES_ON, REFUSED, replicas=0, updatedReplicas=0, readyReplicas=0)
    status, reason, message = look(world)
    assert (status, reason) == ("False", "NoReplicas")
    assert "exceeded quota: gpus" in message


@pytest.mark.parametrize("ready", [0, 3])
def test_a_status_of_the_generation_before_says_nothing_of_this_one(
    world: World, ready: int
) -> None:
    """Neither that everything is new, nor that it has failed; only who is there."""
    pods(world, STUCK, replicas=3, updatedReplicas=3, readyReplicas=ready)
    world.cluster.objects[PLACE]["metadata"]["generation"] += 1
    status, reason, message = look(world)
    if ready:
        assert (status, reason) == ("True", "RollingOut")
        assert "3 replicas of before" in message
    else:
        assert (status, reason) == ("False", "NoReplicas")
    assert "timed out" not in message


def test_a_change_is_a_rollout_from_the_first_status_on(world: World) -> None:
    """The status that carries the new generation never says that everything is as it was."""
    world.declare("EmbeddingModel", "local", {**MODEL, "replicas": 3, "image": "mine:2"})
    seen = []
    for _ in range(3):
        seen.append(look(world, 1)[:2])
        [ready] = [
            one
            for one in world.cluster.objects["EmbeddingModel", "local"]["status"]["conditions"]
            if one["type"] == "Ready"
        ]
        assert ready["observedGeneration"] == 3
    assert set(seen) == {("True", "RollingOut")}
    world.take()
    assert look(world) == ("True", "Ready", "it serves")


def test_a_mended_rollout_is_not_held_against_the_next(world: World) -> None:
    """Another image, after one that failed, is a rollout and no failure."""
    pods(world, STUCK, replicas=4, updatedReplicas=1, readyReplicas=3)
    assert look(world)[1] == "RolloutFailed"
    world.declare("EmbeddingModel", "local", {**MODEL, "replicas": 3, "image": "mine:3"})
    assert look(world, 1)[:2] == ("True", "RollingOut")


def test_replicas_that_are_missing_are_told_of(world: World) -> None:
    """One of three serves: Ready, with the number."""
    pods(world, GOES_ON, replicas=3, updatedReplicas=3, readyReplicas=1)
    assert look(world) == ("True", "Ready", "it serves with 1 of 3 replicas")


def deadline_s(world: World, **probe: Any) -> int:
    """Seconds after which a rollout of a model has failed, with such a probe in the template."""
    templates = world.cluster.objects["ConfigMap", "rel-operator-templates"]
    text = templates["data"]["triton-pod.yaml"]
    told = ", ".join(f"{name}: {value}" for name, value in probe.items())
    templates["data"]["triton-pod.yaml"] = text.replace(
        "      readinessProbe:", f"      startupProbe: {{{told}}}\n      readinessProbe:"
    )
    settle(world)
    return int(world.cluster.objects[PLACE]["spec"]["progressDeadlineSeconds"])


def test_a_model_has_longer_to_roll_than_to_start() -> None:
    """The startup probe says how long a start may take; the default of 600 s is far less."""
    assert deadline_s(a_world(), periodSeconds=10, failureThreshold=360) == 3600 + 600
    # Kubernetes' own numbers where the template gives none.
    assert deadline_s(a_world(), failureThreshold=30, initialDelaySeconds=60) == 60 + 300 + 600
