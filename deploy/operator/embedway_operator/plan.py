"""From what was observed to what is to be written. Pure: no I/O, and the same for the same."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from embedway_operator.conditions import Acknowledgement
from embedway_operator.draft import Place
from embedway_operator.measuring import job_of, wants_measuring
from embedway_operator.observed import Object, Observed, Resource
from embedway_operator.paths import lacking
from embedway_operator.rendering import Rendered, render
from embedway_operator.router_files import router_files
from embedway_operator.status import Statuses
from embedway_operator.trouble import Trouble, place_in
from embedway_operator.workload import objects_of
from embedway_operator.writes import Apply, Delete, Write, applied
from router.domain.errors import ConfigurationError

# Of a model's objects those that it may cease to want; its volume holds data and stays.
_OPTIONAL = ("HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget")


@dataclass(frozen=True, slots=True)
class Plan:
    """Writes in the order in which they are safe.

    `is_served` is whether every router serves the configuration, which has that `generation`.
    """

    writes: tuple[Write, ...]
    is_served: bool
    generation: int

    @property
    def is_settled(self) -> bool:
        """Whether everything is as it should be."""
        return self.is_served and not self.writes


def plan(observed: Observed) -> Plan:
    """What makes the cluster as its resources want it, and says so."""
    rendered = render(observed)
    trouble = Trouble()
    children = [
        *_children(observed, rendered, trouble), *_measurements(observed, rendered, trouble)
    ]  # fmt: skip
    acknowledgement = Acknowledgement(observed, rendered)
    is_served = acknowledgement.is_complete
    writes: list[Write] = [*router_files(observed, rendered, is_served=is_served), *children]
    writes += Statuses(observed, rendered, trouble, acknowledgement, children).writes()
    return Plan(tuple(writes), is_served, rendered.generation)


def _children(observed: Observed, rendered: Rendered, trouble: Trouble) -> Iterator[Apply | Delete]:
    live = {(one["kind"], one["metadata"]["name"]): one for one in observed.children}
    for verdict in rendered.draft.verdicts:
        resource = verdict.resource
        # A model that is refused keeps the pods that it had, as they were.
        if resource.kind != "EmbeddingModel" or verdict.place is not Place.CURRENT:
            continue
        try:
            wanted = objects_of(
                observed.installation,
                resource,
                observed.pod_template or "",
                _routes_to(rendered, verdict.key),
            )
        except ConfigurationError as error:
            trouble.add(resource, f"ConfigMap {observed.installation.templates}: {error}")
            continue
        for body in wanted:
            for write in _child(observed, resource, body, live, trouble):
                yield _as_refused(observed, resource, write, trouble)
        names = {(body["kind"], body["metadata"]["name"]) for body in wanted}
        for kind in _OPTIONAL:
            place = (kind, observed.installation.workload(resource.name))
            if place in live and place not in names and _is_of(live[place], resource):
                yield _deletion(live[place])


def _measurements(
    observed: Observed, rendered: Rendered, trouble: Trouble
) -> Iterator[Apply | Delete]:
    """Jobs of migrations. One goes when its result stands in the status, and not before."""
    live = {one["metadata"]["name"]: one for one in observed.jobs}
    kept = set()
    for move in rendered.draft.moves:
        noted = (move.resource.status.get("overlap") or {}).get("measurement")
        if wants_measuring(move) or (move.figures is not None and noted != move.measurement):
            kept.add(move.measurement)
        # A Job's pod never changes, so one that is there is left as it is.
        if not wants_measuring(move) or move.measurement in live:
            continue
        try:
            job = Apply(job_of(observed.installation, move, observed.overlap_template or ""))
        except ConfigurationError as error:
            place = f"ConfigMap {observed.installation.templates}"
            trouble.add(move.resource, f"{place}: {error}")
            continue
        yield _as_refused(observed, move.resource, job, trouble)
    yield from (_deletion(one) for name, one in live.items() if name not in kept)


def _child(
    observed: Observed,
    resource: Resource,
    body: Object,
    live: Mapping[tuple[str, str], Object],
    trouble: Trouble,
) -> Iterator[Apply]:
    kind, name = body["kind"], body["metadata"]["name"]
    if kind in observed.absent_kinds:
        # Of a budget that is missing the status says so: the model serves all the same.
        if kind != "PodDisruptionBudget":
            trouble.add(resource, lacking(kind))
        return
    other = live.get((kind, name))
    if other is not None and not _is_of(other, resource):
        trouble.add(resource, f"{place_in(body)} is there and belongs to somebody else")
        return
    # A claim's spec cannot change once it is bound.
    if kind == "PersistentVolumeClaim" and other is not None:
        return
    yield from applied(body, other, is_locked=False)


def _as_refused(observed: Observed, resource: Resource, write: Apply, trouble: Trouble) -> Apply:
    """The write, and noted where the API server did not take it the last time."""
    body = write.body
    if sentence := observed.refusals.get((body["kind"], body["metadata"]["name"])):
        trouble.refuse(resource, body, sentence)
    return write


def _routes_to(rendered: Rendered, target: str) -> list[str]:
    routes = rendered.draft.sections["routes"]
    return sorted(name for name, one in routes.items() if target in one["targets"])


def _is_of(body: Object, resource: Resource) -> bool:
    owners = body["metadata"].get("ownerReferences") or []
    return any(one.get("uid") == resource.uid for one in owners)


def _deletion(body: Object) -> Delete:
    metadata = body["metadata"]
    return Delete(body["apiVersion"], body["kind"], metadata["name"], metadata.get("uid", ""))
