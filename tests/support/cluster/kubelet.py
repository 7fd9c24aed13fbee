"""Plays the controllers and the kubelet for what really runs on this machine.

The API server of the tests has no controllers. This one makes the Pods of a Deployment or a
StatefulSet, runs their processes, projects ConfigMaps and Secrets into their files, gives Services
names, and says in the status what became of it. It rolls as they do: a Deployment with
maxUnavailable 0, a StatefulSet from the highest number down, one at a time. It knows no second
container, and no probe but readiness.
"""

import hashlib
import itertools
import json
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.cluster.api import Api
from tests.support.cluster.images import Program
from tests.support.cluster.pods import LocalPod
from tests.support.cluster.sandbox import build_shim

_TICK_S = 0.25
# All of 127/8 is loopback, and 127.0.0.1 is everybody's.
_addresses = (f"127.0.{third}.{fourth}" for third in range(1, 255) for fourth in range(1, 255))


@dataclass
class _Workload:
    resource: str
    name: str
    pods: list[tuple[str, LocalPod]] = field(default_factory=list)
    """Hash of its template, and the Pod."""


class Kubelet:
    """Runs the Pods of the workloads that it is told of, until it is closed."""

    def __init__(self, api: Api, folder: Path, programs: Mapping[str, Program]) -> None:
        """`programs` by the first word of a container's command."""
        folder.mkdir(parents=True, exist_ok=True)
        self._api, self._folder, self._programs = api, folder, programs
        self._shim = build_shim(folder)
        self._workloads: dict[str, _Workload] = {}
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet")
        self._left: set[str] = set()
        self._looking = threading.Lock()
        self.problems: list[str] = []
        self.exit_codes: list[int | None] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def run(self, resource: str, name: str) -> None:
        """Look after that workload ("deployments" or "statefulsets") from now on."""
        self._workloads[name] = _Workload(resource, name)

    def leave(self, workload: str) -> None:
        """Look after it no more: what ends stays ended. A look under way is waited for."""
        with self._looking:
            self._left.add(workload)

    def pods(self, workload: str) -> list[LocalPod]:
        """Its Pods as they are now."""
        return [pod for _, pod in list(self._workloads[workload].pods)]

    def ready(self, workload: str) -> list[str]:
        """Addresses of its ready Pods."""
        return [pod.address for pod in self.pods(workload) if pod.is_ready]

    def explain(self) -> str:
        """What went wrong, for whoever waits in vain."""
        logs = [
            f"--- {pod.name}\n{pod.process.tail() if pod.process else 'waits for its volumes'}"
            for name in list(self._workloads)
            for pod in self.pods(name)
        ]
        return "\n".join([*self.problems[-1:], *logs])

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            for workload in list(self._workloads.values()):
                with self._looking:
                    self._look_after(workload)
        for workload in self._workloads.values():
            for _, pod in workload.pods:
                if pod.process is not None:
                    pod.process.kill()

    def _look_after(self, workload: _Workload) -> None:
        if workload.name in self._left:
            return
        try:
            self._tick(workload)
        # The API server may be down on purpose; whoever waits sees why it takes long.
        except (AssertionError, OSError):
            self.problems.append(traceback.format_exc())

    def _tick(self, workload: _Workload) -> None:
        found = self._api.get(workload.resource, workload.name)
        hosts = self._hosts()
        for _, pod in workload.pods:
            pod.tick(hosts)
        wanted = 0 if found is None else found["spec"].get("replicas", 1)
        version = "" if found is None else _hash(found["spec"]["template"])
        if found is None or workload.resource == "statefulsets":
            self._roll_in_order(workload, found, wanted, version)
        else:
            self._roll_with_surge(workload, found, wanted, version)
        if found is not None:
            self._tell(workload, found, version)

    def _roll_in_order(self, workload: _Workload, found: Any, wanted: int, version: str) -> None:
        names = [f"{workload.name}-{number}" for number in range(wanted)]
        there = {pod.name: (made, pod) for made, pod in workload.pods}
        for name in [*there][::-1]:
            if name not in names:
                self._end(workload, there[name][1])
        for name in names:
            if name not in there:
                workload.pods.append((version, self._make(found, name)))
                return
        stale = [name for name in names if there[name][0] != version]
        if stale and all(pod.is_ready for _, pod in there.values()):
            self._end(workload, there[stale[-1]][1])

    def _roll_with_surge(self, workload: _Workload, found: Any, wanted: int, version: str) -> None:
        current = [pod for made, pod in workload.pods if made == version]
        stale = [pod for made, pod in workload.pods if made != version]
        if len(current) < wanted and len(workload.pods) <= wanted:
            name = f"{workload.name}-{next(self._numbers)}"
            workload.pods.append((version, self._make(found, name)))
        elif len(current) > wanted:
            self._end(workload, current[-1])
        elif stale and all(pod.is_ready for pod in current):
            self._end(workload, stale[0])

    def _make(self, found: dict[str, Any], name: str) -> LocalPod:
        template = found["spec"]["template"]
        labels = template["metadata"]["labels"] | {"statefulset.kubernetes.io/pod-name": name}
        metadata = template["metadata"] | {"name": name, "labels": labels}
        spec = dict(template["spec"])
        claims = [
            {
                "name": claim["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": f"{claim['metadata']['name']}-{name}"},
            }
            for claim in found["spec"].get("volumeClaimTemplates", [])
        ]
        spec["volumes"] = [*spec.get("volumes", []), *claims]
        folder = self._folder / f"{name}.{next(self._numbers)}"
        return LocalPod(
            self._api, folder, next(_addresses), metadata, spec, self._programs, self._shim
        )

    def _end(self, workload: _Workload, pod: LocalPod) -> None:
        self.exit_codes.append(pod.stop())
        workload.pods = [(made, one) for made, one in workload.pods if one is not pod]

    def _hosts(self) -> dict[str, list[str]]:
        """Services by name, and the addresses of the ready Pods behind them."""
        pods = [pod for name in list(self._workloads) for pod in self.pods(name) if pod.is_ready]
        hosts = {}
        for service in self._api.list("services"):
            selector = (service["spec"].get("selector") or {}).items()
            found = [pod for pod in pods if selector and selector <= pod.labels.items()]
            name = f"{service['metadata']['name']}.{self._api.namespace}"
            for suffix in ("", ".svc", ".svc.cluster.local"):
                hosts[name + suffix] = [pod.address for pod in found]
                for pod in found:
                    hosts[f"{pod.name}.{name}{suffix}"] = [pod.address]
        return hosts

    def _tell(self, workload: _Workload, found: dict[str, Any], version: str) -> None:
        ready = sum(pod.is_ready for _, pod in workload.pods)
        status: dict[str, Any] = {
            "observedGeneration": found["metadata"]["generation"],
            "replicas": len(workload.pods),
            "updatedReplicas": sum(made == version for made, _ in workload.pods),
            "readyReplicas": ready,
        }
        if workload.resource == "statefulsets":
            status |= {"currentRevision": version, "updateRevision": version}
        else:
            available = "True" if ready >= found["spec"]["replicas"] else "False"
            status |= {
                "availableReplicas": ready,
                "conditions": [{"type": "Available", "status": available}],
            }
        before = found.get("status", {})
        if any(
            before.get(name, 0) != value for name, value in status.items() if name != "conditions"
        ):
            self._api.patch(workload.resource, f"{workload.name}/status", {"status": status})


def _hash(template: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]
