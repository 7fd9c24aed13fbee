"""An API server in memory: what the operator reads and writes, with the rules that it relies on.

Server-side apply of one manager, optimistic locks, uids, kinds that are missing, quantities that
are kept in another way than they are written. It checks each request against
deploy/operator/rbac.yaml, as the chart's Role will.
"""

import asyncio
import base64
import contextlib
import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from embedway_operator.errors import ClusterError, ConflictError
from embedway_operator.names import Installation
from embedway_operator.observed import Observed, RouterReport, configuration_hash
from embedway_operator.observer import Observer
from embedway_operator.paths import PLACES
from embedway_operator.writes import Apply, Delete, Emit, PatchStatus, Write
from router.config.resources import KINDS
from tests.support.clocks import ManualClock
from tests.support.quantities import kept


def load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


RULES = load_yaml((Path(__file__).parents[2] / "deploy" / "operator" / "rbac.yaml").read_text())
CUSTOM = {kind.name for kind in KINDS}


def allows(kind: str, verb: str, subresource: str = "") -> bool:
    version, plural = PLACES[kind]
    group = version.partition("/")[0] if "/" in version else ""
    resource = f"{plural}/{subresource}" if subresource else plural
    return any(
        group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
        for rule in RULES
    )


class FakeCluster:
    """Objects by (kind, name) of one namespace."""

    def __init__(self, absent: frozenset[str] = frozenset()) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.applied: dict[tuple[str, str], dict[str, Any]] = {}
        self.absent = absent
        self.writes: list[tuple[str, str, str]] = []
        # May raise in place of any write.
        self.fault: Callable[[str, str, str], None] = lambda verb, kind, name: None
        self._numbers = itertools.count(1)

    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a person does with kubectl: a new object, or a new spec of an old one."""
        place = body["kind"], body["metadata"]["name"]
        old = self.objects.get(place)
        new = copy.deepcopy(body)
        metadata = new["metadata"]
        if old is None:
            metadata.setdefault("uid", f"uid-{next(self._numbers)}")
            metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
            metadata["generation"] = 1
        else:
            metadata |= {name: old["metadata"][name] for name in ("uid", "creationTimestamp")}
            changed = old.get("spec") != new.get("spec")
            metadata["generation"] = old["metadata"].get("generation", 1) + changed
            if "status" in old:
                new["status"] = old["status"]
        return self._stored(place, new)

    def remove(self, kind: str, name: str) -> None:
        """What a person does with kubectl delete; owned objects go with it, as garbage does."""
        gone = self.objects.pop((kind, name))["metadata"]["uid"]
        for place, one in list(self.objects.items()):
            owners = one["metadata"].get("ownerReferences") or []
            if any(owner["uid"] == gone for owner in owners):
                del self.objects[place]
                self.applied.pop(place, None)

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        self._allowed(kind, "get")
        return copy.deepcopy(self.objects.get((kind, name)))

    async def list(self, kind: str, selector: str = "") -> list[dict[str, Any]] | None:
        self._allowed(kind, "list")
        if kind in self.absent:
            return None
        wanted = dict(one.split("=") for one in selector.split(",") if one)
        return [
            copy.deepcopy(one)
            for (other, _), one in sorted(self.objects.items())
            if other == kind and wanted.items() <= (one["metadata"].get("labels") or {}).items()
        ]

    async def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        kind, name = place = body["kind"], body["metadata"]["name"]
        # Apply is a patch that may create.
        self._allowed(kind, "patch")
        self._allowed(kind, "create")
        self._write("apply", kind, name)
        old = self.objects.get(place)
        version = body["metadata"].get("resourceVersion")
        if version and (old is None or old["metadata"]["resourceVersion"] != version):
            raise ConflictError("the object has been modified", 409)
        wanted = copy.deepcopy(body)
        wanted["metadata"].pop("resourceVersion", None)
        if old is None:
            self.applied[place] = copy.deepcopy(wanted)
            return self.put(wanted)
        new = _merged(_pruned(old, self.applied.get(place, {}), wanted), wanted)
        self.applied[place] = wanted
        if kept(new).get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        return old if new == old else self._stored(place, new)

    async def patch_status(self, kind: str, name: str, status: dict[str, Any]) -> dict[str, Any]:
        self._allowed(kind, "patch", "status")
        self._write("status", kind, name)
        if (kind, name) not in self.objects:
            raise ClusterError("not found", 404)
        one = copy.deepcopy(self.objects[kind, name])
        one["status"] = {
            key: value
            for key, value in ({**one.get("status", {}), **status}).items()
            if value is not None
        }
        return self._stored((kind, name), one)

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        kind, name = body["kind"], body["metadata"]["name"]
        self._allowed(kind, "create")
        self._write("create", kind, name)
        if (kind, name) in self.objects:
            raise ConflictError("already exists", 409)
        return self.put(body)

    async def replace(self, body: dict[str, Any]) -> dict[str, Any]:
        kind, name = place = body["kind"], body["metadata"]["name"]
        self._allowed(kind, "update")
        self._write("replace", kind, name)
        version = self.objects[place]["metadata"]["resourceVersion"]
        if body["metadata"].get("resourceVersion") != version:
            raise ConflictError("the object has been modified", 409)
        return self._stored(place, copy.deepcopy(body))

    async def delete(self, kind: str, name: str, uid: str) -> None:
        self._allowed(kind, "delete")
        self._write("delete", kind, name)
        if (one := self.objects.get((kind, name))) and one["metadata"]["uid"] == uid:
            self.remove(kind, name)

    async def write(self, write: Write) -> None:
        match write:
            case Apply(body):
                await self.apply(body)
            case Delete(_, kind, name, uid):
                await self.delete(kind, name, uid)
            case PatchStatus(kind, name, status):
                await self.patch_status(kind, name, status)
            case Emit(body):
                with contextlib.suppress(ConflictError):
                    await self.create(body)

    def _stored(self, place: tuple[str, str], body: dict[str, Any]) -> dict[str, Any]:
        body["metadata"]["resourceVersion"] = str(next(self._numbers))
        # A definition of ours knows quantities as text alone.
        self.objects[place] = body = body if place[0] in CUSTOM else kept(body)
        return copy.deepcopy(body)

    def _write(self, verb: str, kind: str, name: str) -> None:
        if kind in self.absent:
            raise ClusterError("the server could not find the requested resource", 404)
        self.fault(verb, kind, name)
        self.writes.append((verb, kind, name))

    def _allowed(self, kind: str, verb: str, subresource: str = "") -> None:
        if not allows(kind, verb, subresource):
            raise AssertionError(f"rbac.yaml does not allow to {verb} {kind} {subresource}")


class World:
    """A cluster with routers that take every configuration, and a way to look and to work."""

    def __init__(self, absent: frozenset[str] = frozenset()) -> None:
        self.cluster = FakeCluster(absent)
        self.installation = Installation("ns", "rel")
        self.clock = ManualClock()
        self.standings: dict[str, str] = {}
        # Targets that are down, by router; and those that no router has measured yet.
        self.down: dict[str, set[str]] = {}
        self.unmeasured: set[str] = set()
        self.routers = ["router-0", "router-1"]
        self.pending_error: str | None = None
        # Files of the routers' Secret as they are mounted; a kubelet that lags leaves them so.
        self.mounted: dict[str, str] = {}
        self.mount_lags = False
        self.waits_for: str | None = None
        self.served: tuple[str, int] = ("sha256:none", 0)
        self.known_targets: list[str] = []
        # What measurements find; None leaves their Jobs running.
        self.overlap: float | None = None
        templates = {"triton-pod.yaml": POD, "overlap-pod.yaml": OVERLAP_POD}
        for name, data in (
            ("rel-router-base", {"base.yaml": "server: {host: 0.0.0.0}\n"}),
            ("rel-operator-templates", templates),
        ):
            self.cluster.put(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": name},
                    "data": data,
                }
            )

    def declare(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Kubectl apply of a resource."""
        self.cluster.put(
            {
                "apiVersion": "embedway.dev/v1alpha1",
                "kind": kind,
                "metadata": {"name": name},
                "spec": spec,
            }
        )

    def secret(self, name: str, **values: str) -> None:
        """Kubectl apply of a Secret."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.cluster.put(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        )

    async def reports(self, pods: Any) -> tuple[RouterReport, ...]:
        del pods
        told, generation = self.served
        known = frozenset(self.known_targets)
        return tuple(
            RouterReport(
                name, True, told, generation, self.pending_error or self.waits_for, self._told(),
                known - self.down.get(name, set()), known - self.unmeasured,
            )
            for name in self.routers
        )  # fmt: skip

    def _told(self) -> dict[str, str]:
        """Routers tell of the targets that they serve; what is not said is verified."""
        return {name: self.standings.get(name, "verified") for name in self.known_targets}

    def take(self) -> None:
        """Routers take up what is mounted; pods of models come up, and old ones are gone."""
        if not self.mount_lags:
            secret = self.cluster.objects.get(("Secret", "rel-router-secrets")) or {}
            self.mounted = dict(secret.get("data") or {})
        config = self.cluster.objects.get(("ConfigMap", "rel-router-config"))
        if config is not None and self.pending_error is None:
            self._load(config["data"]["embedway.yaml"])
        for (kind, _), one in list(self.cluster.objects.items()):
            if kind == "Deployment":
                wanted = one["spec"]["replicas"]
                counts = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
                one["status"] = dict.fromkeys(counts, wanted)
                one["status"]["observedGeneration"] = one["metadata"]["generation"]
            elif kind == "Job" and self.overlap is not None:
                self.finish(one, self.overlap)

    def _load(self, text: str) -> None:
        """As a router does: whole, or not at all while a file that is named is not there."""
        content = load_yaml(text)
        missing = [path for path in named_files(content) if Path(path).name not in self.mounted]
        self.waits_for = f"file {missing[0]} cannot be read" if missing else None
        if not missing:
            self.served = configuration_hash(text), content["generation"]
            self.known_targets = list(content["targets"])

    def finish(self, job: dict[str, Any], recall: float) -> None:
        """A Job's pod ends with figures of the spaces that it was asked about."""
        arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
        spaces = [
            one.partition("=")[2]
            for one in arguments
            if one.startswith(("--space=", "--other-space="))
        ]
        self.end_pod(job, 0, json.dumps({"spaces": spaces, "recall": recall}))
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def end_pod(self, job: dict[str, Any], exit_code: int, message: str) -> None:
        """A Job's pod, with its last words."""
        self.pod_of(job, {"terminated": {"exitCode": exit_code, "message": message}})

    def pod_of(self, job: dict[str, Any], state: dict[str, Any]) -> None:
        """A Job's pod, its one container in this state."""
        metadata = {
            "name": f"{job['metadata']['name']}-x",
            "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [{"uid": job["metadata"]["uid"]}],
        }
        status = {"containerStatuses": [{"state": state}]}
        self.cluster.put(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
        )
        # Put keeps the status of what is there: it is the cluster that writes it.
        self.cluster.objects["Pod", metadata["name"]]["status"] = status

    def look(self) -> Observed:
        observer = Observer(self.cluster, self, self.installation, self.clock)
        return asyncio.run(observer.look())

    def configuration(self) -> dict[str, Any]:
        """The routers' configuration as it is written now."""
        config = self.cluster.objects.get(("ConfigMap", "rel-router-config"))
        return {} if config is None else dict(load_yaml(config["data"]["embedway.yaml"]))

    def write(self, writes: tuple[Write, ...]) -> None:
        async def all_of_them() -> None:
            for one in writes:
                await self.cluster.write(one)

        asyncio.run(all_of_them())

    def condition(self, kind: str, name: str, word: str) -> tuple[str, str, str]:
        """Status, reason and message of one condition."""
        conditions = self.cluster.objects[kind, name]["status"]["conditions"]
        one = next(one for one in conditions if one["type"] == word)
        return one["status"], one["reason"], one["message"]


def named_files(content: dict[str, Any]) -> list[str]:
    """Paths of all keys that a configuration has in files."""
    keys = [one.get("api_key") or {} for one in content["targets"].values()]
    keys += [key for one in content["tenants"].values() for key in one.get("keys") or []]
    return [key["file"] for key in keys if "file" in key]


POD = """\
metadata:
  labels: {app.kubernetes.io/component: triton}
spec:
  containers:
    - name: triton
      image: embedway/triton:1
      args: [--model-repository=/models, --load-model=]
      readinessProbe: {httpGet: {path: /v2/models//ready, port: http}, periodSeconds: 5}
      resources: {limits: {nvidia.com/gpu: 1}, requests: {cpu: 2}}
      volumeMounts: [{name: cache, mountPath: /cache}]
  volumes: [{name: cache, emptyDir: {}}]
"""


OVERLAP_POD = """\
metadata:
  labels: {app.kubernetes.io/component: overlap}
spec:
  containers:
    - name: overlap
      image: embedway/router:1
      args: [overlap, "--url=http://rel-router.ns.svc:8080/v1"]
"""


def _pruned(live: Any, before: Any, wanted: Any) -> Any:
    """Live without the fields that were applied before and are not any more."""
    if not (isinstance(live, dict) and isinstance(before, dict) and isinstance(wanted, dict)):
        return live
    return {
        name: _pruned(value, before.get(name), wanted.get(name))
        for name, value in live.items()
        if name in wanted or name not in before
    }


def _merged(live: Any, wanted: Any) -> Any:
    if not (isinstance(live, dict) and isinstance(wanted, dict)):
        return copy.deepcopy(wanted)
    return {**live, **{name: _merged(live.get(name), value) for name, value in wanted.items()}}
