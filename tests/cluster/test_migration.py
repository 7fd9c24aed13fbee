"""A migration between spaces against a real API server, with the operator's own rights."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.resources import provider, resource, route, secret, target
from tests.support.cluster.installation import (
    MODEL,
    OPERATOR,
    ROUTER,
    Installation,
    served,
    values,
)
from tests.support.cluster.kubelet import Kubelet
from tests.support.cluster.server import wait_until

MEASUREMENT = {"sample": {"configMap": "sample"}, "keySecret": {"name": "measurer"}}


def migration(phase: str, **more: Any) -> dict[str, Any]:
    spec = {"fromRoute": MODEL, "toRoute": "twin", "measurement": MEASUREMENT, "backfilled": True}
    return resource("VectorSpaceMigration", "to-twin", phase=phase, **spec, **more)


def test_a_tenant_moves_and_comes_back(installation: Installation, minilm: Path) -> None:
    """The API server takes the Job, its pod's words move the tenant, and a phase takes it back.

    Nothing here runs Jobs, so the test says what a pod of the Job would.
    """
    wanted = values(minilm)
    installation.install(wanted)
    kubectl = installation.kubectl
    with installation.kubelet() as kubelet:
        kubelet.run("deployments", OPERATOR)
        wait_until(lambda: bool(installation.configuration), 60, kubelet.explain)
        kubelet.run("statefulsets", ROUTER)
        space = resource("VectorSpace", "twin", **wanted["spaces"][MODEL])
        kubectl.apply(secret(), space, provider("twin", "twin"))
        kubectl.apply(route("twin", "twin", target("twin")))
        kubectl.apply(migration("Shadow"))
        wait_until(lambda: bool(installation.api.list("jobs")), 60, kubelet.explain)
        finish(installation)
        installation.wait_for("vectorspacemigrations", "to-twin", "Measured", "True", kubelet)
        wait_until(lambda: not installation.api.list("jobs"), 60, kubelet.explain)
        kubectl.apply(migration("Cutover", cutover={"tenants": ["default"]}))
        come_to(installation, kubelet, "Cutover", ["default"])
        assert installation.configuration["tenants"]["default"]["pins"] == {MODEL: "twin"}
        answer = served(kubelet.ready(ROUTER)[0])
        assert answer["generation"] == installation.configuration["generation"]
        kubectl("delete", "embeddingroute/twin", "vectorspace/twin")
        installation.wait_for("vectorspacemigrations", "to-twin", "ResolvedRefs", "False", kubelet)
        assert "twin" in installation.configuration["routes"]
        kubectl.apply(migration("RolledBack"))
        come_to(installation, kubelet, "RolledBack", [])
        assert "pins" not in installation.configuration["tenants"]["default"]


def finish(installation: Installation) -> None:
    """A pod of the Job that ends with figures."""
    api = installation.api
    (job,) = api.list("jobs")
    pod = job["spec"]["template"]
    name = job["metadata"]["name"]
    pod["spec"]["serviceAccountName"] = "default"
    metadata = {"name": f"{name}-x", "labels": pod["metadata"]["labels"]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
    api.create("pods", body)
    message = json.dumps({"spaces": [MODEL, "twin"], "recall": 1.0, "documents": 200, "k": 10})
    ended = {"exitCode": 0, "message": message}
    container = {
        "name": "overlap", "image": "i", "imageID": "i", "ready": False, "restartCount": 0,
        "state": {"terminated": ended},
    }  # fmt: skip
    status = {"phase": "Succeeded", "containerStatuses": [container]}
    api.patch("pods", f"{name}-x/status", {"status": status})


def come_to(installation: Installation, kubelet: Kubelet, phase: str, tenants: list[str]) -> None:
    """Wait until the migration is there, on every router."""

    def is_there() -> bool:
        found = installation.api.get("vectorspacemigrations", "to-twin") or {}
        status = found.get("status", {})
        is_programmed = installation.condition("vectorspacemigrations", "to-twin", "Programmed")
        return (status.get("phase"), status.get("pinnedTenants"), is_programmed[0]) == (
            phase, tenants, "True",
        )  # fmt: skip

    wait_until(is_there, 60, kubelet.explain)
