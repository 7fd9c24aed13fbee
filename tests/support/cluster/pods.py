"""One Pod of a template: its object in the API server, its volumes, its process."""

import base64
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.cluster.api import Api
from tests.support.cluster.images import Program
from tests.support.cluster.projection import ProjectedVolume, sources_of
from tests.support.cluster.sandbox import Sandbox

Object = dict[str, Any]
_INITIAL_S = 120.0
# A kubelet asks again before it believes a probe that is late; here it waits for it.
_PROBE_S = 10.0


class LocalPod:
    """A Pod whose first container really runs, on this machine, at an address of its own."""

    def __init__(
        self,
        api: Api,
        folder: Path,
        address: str,
        metadata: Object,
        spec: Object,
        programs: Mapping[str, Program],
        shim: Path,
    ) -> None:
        """`programs` by the first word of a container's command; the Pod's object is made here."""
        self.name, self.address = metadata["name"], address
        self.is_ready, self.restarts = False, 0
        self.process: Sandbox | None = None
        self._api, self._folder, self._shim = api, folder, shim
        self._spec, self._programs = spec, programs
        self._container = spec["containers"][0]
        self._volumes: dict[str, Path] = {}
        self._projections: list[ProjectedVolume] = []
        self._told: tuple[str, bool] | None = None
        for volume in spec.get("volumes", []):
            self._add_volume(volume)
        made = api.create("pods", {"metadata": metadata, "spec": spec | {"nodeName": "local"}})
        self.labels: dict[str, str] = made["metadata"].get("labels", {})
        self._uid = made["metadata"]["uid"]

    def tick(self, hosts: Mapping[str, list[str]]) -> None:
        """Bring files, process and status up to date."""
        found = [projection.refresh(self._api) for projection in self._projections]
        is_complete = all(found)
        if is_complete and not self._runs():
            self.restarts += self.process is not None
            self._initialize()
            self.process = self._start(self._container)
        if self.process is not None:
            self.process.write_hosts(hosts)
        self.is_ready = self._runs() and self._answers("readinessProbe")
        self._tell()

    def stop(self) -> int | None:
        """End the process as a kubelet would, and remove the object; the exit code."""
        self.is_ready, code = False, None
        if self.process is not None:
            # Serving goes on meanwhile: that is what the hook is for.
            time.sleep(self._pre_stop_s())
            code = self.process.stop(float(self._spec.get("terminationGracePeriodSeconds", 30)))
        path = self._api.path("pods", self.name)
        self._api.request("DELETE", path, {"gracePeriodSeconds": 0})
        return code

    def mounted(self, path: str) -> Path:
        """The folder, outside, that the container sees at `path`."""
        [mount] = [one for one in self._container["volumeMounts"] if one["mountPath"] == path]
        return self._volumes[mount["name"]]

    def _initialize(self) -> None:
        """Run the init containers, one after the other."""
        for container in self._spec.get("initContainers", []):
            process = self._start(container)
            assert process.wait(_INITIAL_S) == 0, f"{container['name']}: {process.tail()}"

    def _runs(self) -> bool:
        return self.process is not None and self.process.exit_code is None

    def _add_volume(self, volume: Object) -> None:
        folder = self._folder / "volumes" / volume["name"]
        sources = sources_of(volume)
        if sources is not None:
            self._projections.append(ProjectedVolume(folder, sources))
        elif "persistentVolumeClaim" in volume:
            # A claim outlives its Pods.
            folder = self._folder.parent / "claims" / volume["persistentVolumeClaim"]["claimName"]
            folder.mkdir(parents=True, exist_ok=True)
        elif "hostPath" in volume:
            folder = Path(volume["hostPath"]["path"])
        else:
            folder.mkdir(parents=True)
        self._volumes[volume["name"]] = folder

    def _start(self, container: Object) -> Sandbox:
        # Without a command the image's own entrypoint runs, which its name stands for.
        image = container["image"].rpartition("/")[2].partition(":")[0]
        first, *rest = [
            *container.get("command", [image]),
            *container.get("args", []),
        ]
        program = self._programs[first]
        environment = self._environment(container)
        mounts = dict(program.mounts)
        for mount in container.get("volumeMounts", []):
            mounts[mount["mountPath"]] = self._volumes[mount["name"]]
        security = self._spec.get("securityContext", {}) | container.get("securityContext", {})
        return Sandbox(
            self._folder,
            [*program.command, *(_expanded(word, environment) for word in rest)],
            program.environment | environment,
            mounts,
            program.workplace,
            int(security.get("runAsUser", 65532)),
            self._shim,
        )

    def _environment(self, container: Object) -> dict[str, str]:
        values = {"POD_ADDRESS": self.address}
        for variable in container.get("env", []):
            value = self._value(variable)
            if value is not None:
                values[variable["name"]] = value
        return values

    def _value(self, variable: Object) -> str | None:
        if "valueFrom" not in variable:
            return str(variable.get("value", ""))
        source = variable["valueFrom"]
        if "fieldRef" in source:
            known = {
                "metadata.name": self.name,
                "metadata.namespace": self._api.namespace,
                "metadata.uid": self._uid,
                "status.podIP": self.address,
            }
            return known[source["fieldRef"]["fieldPath"]]
        wanted = source["secretKeyRef"]
        found = self._api.get("secrets", wanted["name"])
        if found is None and wanted.get("optional"):
            return None
        assert found is not None, f"there is no Secret {wanted['name']}"
        return base64.b64decode(found["data"][wanted["key"]]).decode()

    def _answers(self, probe: str) -> bool:
        wanted = self._container.get(probe)
        if wanted is None:
            return True
        ports = {port["name"]: port["containerPort"] for port in self._container.get("ports", [])}
        port = wanted["httpGet"]["port"]
        url = f"http://{self.address}:{ports.get(port, port)}{wanted['httpGet']['path']}"
        try:
            with urllib.request.urlopen(url, timeout=_PROBE_S):
                return True
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return False
        except OSError:
            return False

    def _pre_stop_s(self) -> float:
        hook = self._container.get("lifecycle", {}).get("preStop", {})
        if not hook:
            return 0.0
        word, seconds = hook["exec"]["command"]
        assert word == "sleep", f"this kubelet knows no hook but sleep: {hook}"
        return float(seconds)

    def _tell(self) -> None:
        """Write the status where it changed."""
        phase = "Pending" if self.process is None else "Running"
        if (phase, self.is_ready) == self._told:
            return
        ready = "True" if self.is_ready else "False"
        status = {
            "phase": phase,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": [{"type": "Ready", "status": ready}],
        }
        self._api.patch("pods", f"{self.name}/status", {"status": status})
        self._told = (phase, self.is_ready)


def _expanded(word: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` in a container's arguments is the variable of that name."""
    for name, value in environment.items():
        word = word.replace(f"$({name})", value)
    return word
