"""From what was observed to what is to be written. Pure: no I/O, and the same for the same."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from embedway_operator.draft import Place
from embedway_operator.draft_targets import secret_file, secret_references
from embedway_operator.measuring import job_of, wants_measuring
from embedway_operator.names import CONFIG_KEY, MANAGER, ORIGINS_KEY, PINS_KEY
from embedway_operator.observed import Object, Observed, Resource
from embedway_operator.paths import lacking
from embedway_operator.pins import note_of
from embedway_operator.rendering import Rendered, render
from embedway_operator.status import Statuses
from embedway_operator.workload import objects_of
from embedway_operator.writes import Apply, Delete, Write, has_drifted, marked
from router.domain.errors import ConfigurationError

# Of a model's objects those that it may cease to want; its volume holds data and stays.
_OPTIONAL = ("HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget")


@dataclass(frozen=True, slots=True)
class Plan:
    """Writes in the order in which they are safe, and whether everything is as it should be."""

    writes: tuple[Write, ...]
    is_settled: bool
    generation: int


def plan(observed: Observed) -> Plan:
    """What makes the cluster as its resources want it, and says so."""
    rendered = render(observed)
    trouble: dict[str, str] = {}
    writes: list[Write] = []
    children = [
        *_children(observed, rendered, trouble), *_measurements(observed, rendered, trouble)
    ]  # fmt: skip
    statuses = Statuses(observed, rendered, trouble)
    # Secrets stand before the configuration that refers to them, and go after it.
    writes.extend(_router_secrets(observed, rendered, statuses.acknowledgement.is_complete))
    if rendered.problem is None and rendered.text is not None:
        writes.extend(_router_config(observed, rendered, rendered.text))
    writes.extend(children)
    writes.extend(statuses.writes())
    is_settled = not writes and statuses.acknowledgement.is_complete
    return Plan(tuple(writes), is_settled, rendered.generation)


def _router_config(observed: Observed, rendered: Rendered, text: str) -> Iterator[Apply]:
    origins = json.dumps(rendered.draft.origins, sort_keys=True)
    body = _mounted(observed, "ConfigMap", observed.installation.config)
    pins = note_of(rendered.draft.pins)
    body["data"] = {CONFIG_KEY: text, ORIGINS_KEY: origins, PINS_KEY: pins}
    yield from _applied(body, observed.config, is_locked=True)


def _router_secrets(observed: Observed, rendered: Rendered, is_served: bool) -> Iterator[Apply]:
    """Values that the configuration refers to; old ones stay while a router may still read them."""
    before = (observed.router_secrets or {}).get("data") or {}
    data = {} if is_served and rendered.problem is None else dict(before)
    for verdict in rendered.draft.verdicts:
        if verdict.place is Place.OUT:
            continue
        for reference in secret_references(verdict.resource):
            values: Mapping[str, bytes] = observed.secrets.get(reference["name"]) or {}
            value = values.get(reference.get("key", "key"))
            if value is not None:
                data[secret_file(reference)] = base64.b64encode(value).decode()
            elif verdict.place is Place.KEPT and secret_file(reference) in before:
                data[secret_file(reference)] = before[secret_file(reference)]
    for name in _files_named(rendered):
        if name in before:
            data.setdefault(name, before[name])
    body = _mounted(observed, "Secret", observed.installation.secrets)
    body |= {"type": "Opaque", "data": dict(sorted(data.items()))}
    yield from _applied(body, observed.router_secrets, is_locked=True)


def _files_named(rendered: Rendered) -> Iterator[str]:
    """Files of secrets that the new configuration still reads, kept parts included."""
    sections = rendered.draft.sections
    for target in sections["targets"].values():
        if path := (target.get("api_key") or {}).get("file"):
            yield str(path).rpartition("/")[2]
    for tenant in sections["tenants"].values():
        for key in tenant.get("keys") or []:
            if path := key.get("file"):
                yield str(path).rpartition("/")[2]


def _mounted(observed: Observed, kind: str, name: str) -> Object:
    """What routers mount. It goes with the chart's own object and not with the operator."""
    base = observed.base or {}
    owners = []
    if uid := (base.get("metadata") or {}).get("uid"):
        owners = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": observed.installation.base,
                "uid": uid,
            }
        ]
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": observed.installation.namespace,
            "labels": {
                **observed.installation.labels("router"),
                "app.kubernetes.io/managed-by": MANAGER,
            },
            "ownerReferences": owners,
        },
    }


def _children(
    observed: Observed, rendered: Rendered, trouble: dict[str, str]
) -> Iterator[Apply | Delete]:
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
            trouble[resource.name] = f"ConfigMap {observed.installation.templates}: {error}"
            continue
        for body in wanted:
            yield from _child(observed, resource, body, live, trouble)
        names = {(body["kind"], body["metadata"]["name"]) for body in wanted}
        for kind in _OPTIONAL:
            place = (kind, observed.installation.workload(resource.name))
            if place in live and place not in names and _is_of(live[place], resource):
                yield _deletion(live[place])


def _measurements(
    observed: Observed, rendered: Rendered, trouble: dict[str, str]
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
            yield Apply(job_of(observed.installation, move, observed.overlap_template or ""))
        except ConfigurationError as error:
            place = f"ConfigMap {observed.installation.templates}"
            trouble[f"{move.resource.kind}/{move.resource.name}"] = f"{place}: {error}"
    yield from (_deletion(one) for name, one in live.items() if name not in kept)


def _child(
    observed: Observed,
    resource: Resource,
    body: Object,
    live: Mapping[tuple[str, str], Object],
    trouble: dict[str, str],
) -> Iterator[Apply]:
    kind, name = body["kind"], body["metadata"]["name"]
    if kind in observed.absent_kinds:
        # Of a budget that is missing the status says so: the model serves all the same.
        if kind != "PodDisruptionBudget":
            trouble[resource.name] = lacking(kind)
        return
    other = live.get((kind, name))
    if other is not None and not _is_of(other, resource):
        trouble[resource.name] = f"{kind} {name} is there and belongs to somebody else"
        return
    # A claim's spec cannot change once it is bound.
    if kind == "PersistentVolumeClaim" and other is not None:
        return
    yield from _applied(body, other, is_locked=False)


def _applied(body: Object, live: Object | None, *, is_locked: bool) -> Iterator[Apply]:
    """Nothing where it is so already. Locked: only onto what was observed, or not at all."""
    body = marked(body)
    if live is not None and not has_drifted(body, live):
        return
    if live is not None and is_locked:
        version = live["metadata"]["resourceVersion"]
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
    yield Apply(body)


def _routes_to(rendered: Rendered, target: str) -> list[str]:
    routes = rendered.draft.sections["routes"]
    return sorted(name for name, one in routes.items() if target in one["targets"])


def _is_of(body: Object, resource: Resource) -> bool:
    owners = body["metadata"].get("ownerReferences") or []
    return any(one.get("uid") == resource.uid for one in owners)


def _deletion(body: Object) -> Delete:
    metadata = body["metadata"]
    return Delete(body["apiVersion"], body["kind"], metadata["name"], metadata.get("uid", ""))
