"""The parts that the tests of the chart and the operator stand on do what they say."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster.api import Api, ApiError
from tests.support.cluster.images import router_program
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.kubelet import Kubelet
from tests.support.cluster.server import Cluster, wait_until
from tests.support.cluster.write_proxy import WriteProxy
from tests.support.settings import fake_settings

CONFIGURATION = "/etc/embedway/config"


def deployment(image: str = "embedway/router") -> dict[str, Any]:
    """Two routers on a configuration of a ConfigMap."""
    labels = {"app": "router"}
    container = {
        "name": "router",
        "image": image,
        "command": ["embedway", "serve", "--config", f"{CONFIGURATION}/embedway.yaml"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/health/ready", "port": "http"}},
        "volumeMounts": [{"name": "config", "mountPath": CONFIGURATION}],
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "settings"}}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "router"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }


def settings(minilm: Path) -> dict[str, Any]:
    """A router's configuration as a ConfigMap."""
    text = fake_settings(minilm, host="0.0.0.0", port=8080, grpc_port=8081)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"embedway.yaml": text},
    }


def test_what_no_role_allows_is_forbidden(cluster: Cluster, kubectl: Kubectl) -> None:
    """A service account by its own token reads what its Role names, and nothing else."""
    kubectl("create", "serviceaccount", "reader")
    kubectl("create", "role", "reader", "--verb=get", "--resource=configmaps")
    kubectl(
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        f"--serviceaccount={kubectl.namespace}:reader",
    )
    kubectl("create", "configmap", "known", "--from-literal=a=1")
    api = Api(cluster.url, cluster.certificate, kubectl.namespace, token=kubectl.token("reader"))
    found = api.get("configmaps", "known")
    assert found is not None
    assert found["data"] == {"a": "1"}
    with pytest.raises(ApiError, match="403"):
        api.list("configmaps")


def test_stored_objects_outlive_the_api_server(cluster: Cluster, kubectl: Kubectl) -> None:
    """Killed and started again, it knows what it was told."""
    kubectl("create", "configmap", "kept", "--from-literal=a=1")
    cluster.kill_apiserver()
    cluster.start_apiserver()
    assert kubectl.get("configmap", "kept")["data"] == {"a": "1"}


def test_the_proxy_counts_writes_and_passes_watches(
    cluster: Cluster, kubectl: Kubectl, api: Api
) -> None:
    """Only what changes an object counts, and a watch delivers while it is open."""
    kubectl("create", "serviceaccount", "writer")
    kubectl(
        "create",
        "clusterrolebinding",
        kubectl.namespace,
        "--clusterrole=cluster-admin",
        f"--serviceaccount={kubectl.namespace}:writer",
    )
    token = kubectl.token("writer")
    counts: list[int] = []
    with WriteProxy(cluster.url, cluster.certificate, counts.append) as proxy:
        path = api.path("configmaps")
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        base = f"http://127.0.0.1:{proxy.port}{path}"
        watch = urllib.request.Request(f"{base}?watch=true", headers=headers)
        with urllib.request.urlopen(watch, timeout=60) as events:
            body = json.dumps({"metadata": {"name": "seen"}}).encode()
            urllib.request.urlopen(urllib.request.Request(base, body, headers), timeout=60)
            names = [json.loads(events.readline())["object"]["metadata"]["name"] for _ in range(1)]
    assert names == ["seen"]
    assert (counts, proxy.writes) == ([1], [f"POST {path}"])


def test_a_deployment_of_routers_really_runs(
    kubectl: Kubectl, api: Api, place: Path, minilm: Path
) -> None:
    """Two routers on the same port, each at its Pod's address, read the ConfigMap's content."""
    kubectl.apply(settings(minilm), deployment())
    with Kubelet(api, place, {"embedway": router_program()}) as kubelet:
        kubelet.run("deployments", "router")
        wait_until(lambda: len(kubelet.ready("router")) == 2, 90, kubelet.explain)
        for address in kubelet.ready("router"):
            with urllib.request.urlopen(
                f"http://{address}:8080/health/ready", timeout=30
            ) as answer:
                assert answer.status == 200

        def available() -> int:
            found = api.get("deployments", "router") or {}
            return int(found.get("status", {}).get("availableReplicas", 0))

        wait_until(lambda: available() == 2, 60, kubelet.explain)
        pod = kubelet.pods("router")[0]
        changed = settings(minilm)
        changed["data"]["embedway.yaml"] += "\n# second\n"
        kubectl.apply(changed)
        file = pod.mounted(CONFIGURATION) / "embedway.yaml"
        wait_until(lambda: file.read_text().endswith("# second\n"), 60)
        assert yaml.safe_load(file.read_text())["server"]["port"] == 8080
        kubectl("scale", "deployment/router", "--replicas=1")
        wait_until(lambda: len(kubelet.pods("router")) == 1, 60)
        assert kubelet.exit_codes == [0]
        assert [pod.restarts for pod in kubelet.pods("router")] == [0]
        assert len(api.list("pods", app="router")) == 1
