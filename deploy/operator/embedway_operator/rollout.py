"""How a model's pods stand, as the status of its Deployment tells."""

from embedway_operator.conditions import MOST_SAID, Condition
from embedway_operator.observed import Object, Resource


def pods_ready(resource: Resource, deployment: Object, *, is_changing: bool) -> Condition:
    """`Ready` as far as pods go. `deployment` is empty where there is none yet.

    `is_changing`: it is being written, so that what it tells is of the one before. Replicas of
    before serve vectors of the same space, so a rollout that goes on takes nothing from `Ready`.
    """
    status = deployment.get("status") or {}
    seen = int(status.get("observedGeneration") or 0)
    is_past = is_changing or seen < int(deployment.get("metadata", {}).get("generation") or 0)
    wanted = int(resource.spec.get("replicas", 1))
    reason, message = _in_the_way(status, wanted, is_past=is_past)
    if reason:
        return Condition("Ready", "False", reason, message[:MOST_SAID])
    reason, message = _serving(status, wanted, is_past=is_past)
    return Condition("Ready", "True", reason, message[:MOST_SAID])


def _in_the_way(status: Object, wanted: int, *, is_past: bool) -> tuple[str, str]:
    """Reason and sentence; both empty where a replica is ready and no rollout has failed."""
    ready, old = _count(status, "readyReplicas"), _old(status)
    if wanted == 0:
        return "ScaledToZero", "it has no replica"
    if not is_past and (stuck := _said_in(status, "Progressing", "False")):
        told = f"{ready} replicas are ready, and {old} are of before: {stuck}"
        return "RolloutFailed", told + _refused(status)
    if ready == 0:
        told = f"none of {wanted} replicas is ready"
        return "NoReplicas", told if is_past else told + _refused(status)
    return "", ""


def _serving(status: Object, wanted: int, *, is_past: bool) -> tuple[str, str]:
    ready, old = _count(status, "readyReplicas"), _old(status)
    if is_past:
        return "RollingOut", f"it serves with {ready} replicas of before; a rollout is to begin"
    if old > 0:
        new = _count(status, "updatedReplicas")
        told = f"it serves with {ready} replicas while a rollout is under way: {new} of {wanted}"
        return "RollingOut", f"{told} are new, {old} of before go on{_refused(status)}"
    if ready < wanted:
        return "Ready", f"it serves with {ready} of {wanted} replicas{_refused(status)}"
    return "Ready", "it serves"


def _old(status: Object) -> int:
    return max(0, _count(status, "replicas") - _count(status, "updatedReplicas"))


def _count(status: Object, name: str) -> int:
    return int(status.get(name) or 0)


def _refused(status: Object) -> str:
    """Why no further pod is made, where one is refused."""
    told = _said_in(status, "ReplicaFailure", "True")
    return f"; {told}" if told else ""


def _said_in(status: Object, kind: str, word: str) -> str:
    """Reason and message of a condition that stands so; empty where it does not."""
    for one in status.get("conditions") or []:
        if one["type"] == kind and one["status"] == word:
            return f"{one.get('reason', kind)}: {one.get('message', '')}"
    return ""
