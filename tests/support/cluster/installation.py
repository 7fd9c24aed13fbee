"""Both charts installed in a namespace, and the operator under the chart's own ServiceAccount."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster.api import Api
from tests.support.cluster.charts import EMBEDWAY, Helm
from tests.support.cluster.images import Program, operator_program, router_program
from tests.support.cluster.kubectl import Kubectl, write_kubeconfig
from tests.support.cluster.kubelet import Kubelet
from tests.support.cluster.server import Cluster, wait_until

RELEASE = "embedway"
# What the CPU profile calls its space, its model and its route.
MODEL = "all-minilm-l6-v2"
ROUTER, OPERATOR = f"{RELEASE}-router", f"{RELEASE}-operator"
# The chart's waits are for load balancers that are not here.
_QUICK = {"propagationSeconds": 1, "timeoutSeconds": 10, "marginSeconds": 5}


def values(minilm: Path, **changes: Any) -> dict[str, Any]:
    """The CPU profile, with a tokenizer of this machine and no long waits."""
    space = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "dimensions": 384,
        "maxTokens": 256,
        "tokenizer": str(minilm),
    }
    return {
        "spaces": {MODEL: space},
        "router": {"drain": _QUICK},
        "triton": {"drain": _QUICK},
        **changes,
    }


class Installation:
    """What a test sees of one release, as an administrator."""

    def __init__(self, cluster: Cluster, namespace: str, place: Path) -> None:
        self.cluster, self.namespace, self._place = cluster, namespace, place
        self.kubectl: Kubectl = cluster.kubectl.within(namespace)
        self.api: Api = cluster.api(namespace)
        self.helm = Helm(self.kubectl.kubeconfig, namespace)

    def install(self, wanted: Mapping[str, Any], chart: Path = EMBEDWAY) -> str:
        """`helm install` of the chart; what it rendered."""
        return self.helm.install(chart, RELEASE, dict(wanted))

    def as_account(self, account: str, namespace: str = "") -> Api:
        """The REST interface as a ServiceAccount of the chart's, by a fresh token."""
        token, cluster = self.kubectl.token(account), self.cluster
        place = namespace or self.namespace
        return Api(cluster.url, cluster.certificate, place, token=token)

    def kubeconfig(self, account: str, url: str = "") -> Path:
        """A kubeconfig with a fresh token of a ServiceAccount of the chart's.

        `url` is another door to the API server, by plain HTTP.
        """
        user = {"token": self.kubectl.token(account)}
        path = self._place / f"{account}.yaml"
        if url:
            return write_kubeconfig(path, url, user, None)
        return write_kubeconfig(path, self.cluster.url, user, self.cluster.certificate)

    def kubelet(self, programs: Mapping[str, Program] | None = None, url: str = "") -> Kubelet:
        """Runs routers and operators, and what `programs` adds."""
        known = {"embedway": router_program()}
        if self.api.get("serviceaccounts", OPERATOR) is not None:
            known["operator"] = operator_program(self.kubeconfig(OPERATOR, url))
        return Kubelet(self.api, self._place / "kubelet", known | dict(programs or {}))

    @property
    def configuration(self) -> dict[str, Any]:
        """The routers' configuration as it is rendered now; empty where there is none."""
        found = self.api.get("configmaps", f"{RELEASE}-router-config")
        text = ((found or {}).get("data") or {}).get("embedway.yaml", "")
        return yaml.safe_load(text) or {}

    def condition(self, plural: str, name: str, kind: str) -> tuple[str, str]:
        """Status and reason of one condition; empty where it is not said for this generation."""
        found = self.api.get(plural, name)
        if found is None:
            return "", ""
        for one in found.get("status", {}).get("conditions", []):
            is_current = one.get("observedGeneration") == found["metadata"]["generation"]
            if one["type"] == kind and is_current:
                return str(one["status"]), str(one.get("reason", ""))
        return "", ""

    def wait_for(
        self, plural: str, name: str, kind: str, status: str, kubelet: Kubelet, within_s: float = 60
    ) -> None:
        """Return once a condition has that status for the resource's own generation."""

        def explain() -> str:
            found = self.api.get(plural, name) or {}
            said = json.dumps(found.get("status"), indent=1)
            return f"{plural}/{name} {kind}: {said}\n{kubelet.explain()}"

        wait_until(lambda: self.condition(plural, name, kind)[0] == status, within_s, explain)

    def key(self) -> str:
        """The first tenant's key, from the chart's Secret."""
        found = self.api.get("secrets", f"{RELEASE}-key")
        assert found is not None
        return base64.b64decode(found["data"]["api-key"]).decode()


def served(address: str) -> dict[str, Any]:
    """What the router at that address says of its configuration."""
    with urllib.request.urlopen(f"http://{address}:8080/health/configuration", timeout=30) as told:
        answer: dict[str, Any] = json.load(told)
        return answer


def embed(address: str, key: str, model: str, *texts: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of an OpenAI request to the router at that address."""
    request = urllib.request.Request(
        f"http://{address}:8080/v1/embeddings",
        json.dumps({"model": model, "input": texts}).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
