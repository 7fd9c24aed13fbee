"""The status of every resource, and the events that its changes are told by."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from embedway_operator.conditions import (
    MOST_SAID,
    Acknowledgement,
    Condition,
    accepted,
    dated,
    programmed,
    resolved,
    verified,
)
from embedway_operator.draft import Place, Verdict
from embedway_operator.events import event
from embedway_operator.move_status import move_status
from embedway_operator.observed import Object, Observed, Resource
from embedway_operator.paths import lacking
from embedway_operator.pinning import pins_before
from embedway_operator.pins import told_of
from embedway_operator.rendering import Rendered
from embedway_operator.rollout import pods_ready
from embedway_operator.standing import Standings
from embedway_operator.trouble import Trouble
from embedway_operator.workload import model_labels
from embedway_operator.writes import Apply, Delete, Emit, PatchStatus

# Programmed changes with every configuration, on the way from one to the next.
_TOLD = ("Accepted", "ResolvedRefs", "SpaceVerified", "Measured", "Ready")


class Statuses:
    """Says of each resource how it stands, and tells of what has changed."""

    def __init__(
        self, observed: Observed, rendered: Rendered, trouble: Trouble,
        acknowledgement: Acknowledgement, children: Sequence[Apply | Delete],
    ) -> None:  # fmt: skip
        """`trouble` says why objects could not be made; `children` are about to be written."""
        self._observed = observed
        self._rendered = rendered
        self._trouble = trouble
        self._standings = Standings(observed.routers)
        draft = rendered.draft
        # A file that cannot be written has the pins that it had.
        self._pins = draft.pins if rendered.problem is None else pins_before(draft)
        self._acknowledgement = acknowledgement
        self._deployments = {
            one["metadata"]["name"]: one for one in observed.children if one["kind"] == "Deployment"
        }
        self._changing = {
            one.body["metadata"]["name"]
            for one in children
            if isinstance(one, Apply) and one.body["kind"] == "Deployment"
        }

    def writes(self) -> Iterator[Emit | PatchStatus]:
        """Events first: told twice under one name they are told once, and never forgotten."""
        for verdict in self._rendered.draft.verdicts:
            yield from self._changed(verdict.resource, self._status(verdict))
        for move in self._rendered.draft.moves:
            trouble = self._trouble.of(move.resource)
            status = move_status(move, self._acknowledgement, self._observed.now, trouble)
            yield from self._changed(move.resource, status)

    def _changed(self, resource: Resource, status: Object) -> Iterator[Emit | PatchStatus]:
        before = resource.status
        if status == before:
            return
        yield from self._events(resource, status)
        # null takes a field away in a merge patch.
        gone = {name: None for name in before if name not in status}
        yield PatchStatus(resource.kind, resource.name, {**gone, **status})

    def _status(self, verdict: Verdict) -> Object:
        resource = verdict.resource
        program, marks = programmed(verdict, self._rendered, self._acknowledgement)
        conditions = [accepted(verdict), resolved(verdict), program]
        targets = self._targets(verdict)
        if resource.kind != "EmbeddingTenant":
            space = str(resource.spec.get("space", resource.name))
            conditions.append(
                verified(space, targets, self._standings, is_checked=self._is_checked(space))
            )
        conditions.append(self._ready(verdict, program, targets))
        status: Object = {"observedGeneration": resource.generation, **marks}
        if resource.kind in {"EmbeddingModel", "EmbeddingProvider"}:
            status["target"] = verdict.key
        if resource.kind == "EmbeddingRoute":
            status["modelName"] = verdict.key
        if resource.kind == "EmbeddingModel":
            status |= self._replicas(resource)
        if resource.kind == "EmbeddingTenant" and (pins := self._pins.get(verdict.key)):
            status["pins"] = told_of(pins)
        status["conditions"] = dated(resource, conditions, self._observed.now)
        return status

    def _is_checked(self, space: str) -> bool:
        spaces = self._rendered.draft.whole()["spaces"]
        checks = (spaces.get(space) or {}).get("verification") or {}
        return bool(checks.get("enabled", True))

    def _targets(self, verdict: Verdict) -> list[str]:
        if verdict.resource.kind != "VectorSpace":
            return verdict.targets
        sections = self._rendered.draft.sections["targets"]
        return sorted(name for name, one in sections.items() if one["space"] == verdict.key)

    def _replicas(self, resource: Resource) -> Object:
        labels = model_labels(self._observed.installation, resource.name)
        status = self._deployment(resource).get("status") or {}
        return {
            "replicas": int(status.get("replicas") or 0),
            "readyReplicas": int(status.get("readyReplicas") or 0),
            "selector": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        }

    def _deployment(self, resource: Resource) -> Object:
        name = self._observed.installation.workload(resource.name)
        return self._deployments.get(name, {})

    def _pods(self, resource: Resource) -> Condition:
        workload = self._observed.installation.workload(resource.name)
        is_changing = workload in self._changing
        return pods_ready(resource, self._deployment(resource), is_changing=is_changing)

    def _ready(self, verdict: Verdict, program: Condition, targets: list[str]) -> Condition:
        reason, message = self._in_the_way(verdict, program, targets)
        if reason:
            return Condition("Ready", "False", reason, message)
        if verdict.resource.kind != "EmbeddingModel":
            return Condition("Ready", "True", "Ready", "it serves")
        pods, kind = self._pods(verdict.resource), "PodDisruptionBudget"
        if kind in self._observed.absent_kinds:
            lack = f"{lacking(kind)}, so a drain of nodes may take all replicas at once"
            return replace(pods, message=f"{pods.message}; {lack}"[:MOST_SAID])
        return pods

    def _in_the_way(  # noqa: PLR0911 - one a reason
        self, verdict: Verdict, program: Condition, targets: list[str]
    ) -> tuple[str, str]:
        """Reason and sentence why it does not serve as it is wished; both empty where it does.

        What is the cause of another stands before it.
        """
        if not verdict.accepted:
            return verdict.reason, verdict.message
        if verdict.unresolved and verdict.place is Place.OUT:
            return "NotFound", "; ".join(verdict.unresolved)
        if trouble := self._trouble.of(verdict.resource):
            return "ObjectsNotMade", trouble[:MOST_SAID]
        if program.status != "True":
            return program.reason, program.message
        if verdict.resource.kind == "EmbeddingTenant":
            return "", ""
        if verdict.resource.kind == "EmbeddingModel":
            pods = self._pods(verdict.resource)
            if pods.status != "True":
                return pods.reason, pods.message
        if not any(self._standings.of(name) in {"verified", "untold"} for name in targets):
            return "SpaceUnverified", "none of its targets is found to be of its space"
        if routers := self._standings.down_at(targets):
            return "TargetsDown", f"no target of it is up at {', '.join(routers)}"[:MOST_SAID]
        return "", ""

    def _events(self, resource: Resource, status: Object) -> Iterator[Emit]:
        before = {one["type"]: one for one in resource.status.get("conditions") or []}
        for condition in status["conditions"]:
            old = before.get(condition["type"])
            is_news = old is not None and old["status"] != condition["status"]
            if condition["type"] not in _TOLD or not (
                is_news or (old is None and _is_worth_telling(condition))
            ):
                continue
            since = "" if old is None else old["lastTransitionTime"]
            yield Emit(self._transition(resource, condition, since))
        yield from self._refused(resource, before.get("Ready") or {})

    def _transition(self, resource: Resource, condition: Object, since: str) -> Object:
        message = f"{condition['type']}: {condition['message']}"
        identity = [condition["type"], condition["status"], since]
        is_warning = condition["status"] == "False"
        return event(
            self._observed, resource, identity, condition["reason"], message, is_warning=is_warning
        )

    def _refused(self, resource: Resource, ready: Object) -> Iterator[Emit]:
        """Objects that the API server does not take, of which the last status said nothing."""
        said = ready.get("message", "") if ready.get("reason") == "ObjectsNotMade" else ""
        since = ready.get("lastTransitionTime", "")
        for place, told in self._trouble.refused_of(resource):
            if f"{place}: " not in said:
                identity = ["WriteRefused", place, since]
                yield Emit(
                    event(self._observed, resource, identity, "WriteRefused", told, is_warning=True)
                )


def _is_worth_telling(condition: Object) -> bool:
    """Of a new resource: that it was refused, or taken; not that everything is still pending."""
    kind, status = str(condition["type"]), str(condition["status"])
    return kind == "Accepted" or (kind == "ResolvedRefs" and status == "False")
