"""Operators that die anywhere, and an API server that is gone."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.cluster.installation import (
    MODEL,
    OPERATOR,
    RELEASE,
    ROUTER,
    Installation,
    served,
    values,
)
from tests.support.cluster.processes import Child
from tests.support.cluster.server import Cluster, wait_until
from tests.support.cluster.write_proxy import WriteProxy

TRITON = f"{RELEASE}-triton-{MODEL}"
_REPOSITORY = Path(__file__).parents[2]
# More than a first reconciliation takes; the test ends where one was never interrupted.
_MOST_WRITES = 40


def start_operator(installation: Installation, place: Path, url: str, name: str) -> Child:
    """The operator as a process of its own, under its ServiceAccount, through another door."""
    environment = dict(os.environ) | {
        "KUBECONFIG": str(installation.kubeconfig(OPERATOR, url)),
        "EMBEDWAY_NAMESPACE": installation.namespace,
        "EMBEDWAY_RELEASE": RELEASE,
        "POD_NAME": name,
        "PYTHONPATH": f"{_REPOSITORY}:{_REPOSITORY / 'deploy' / 'operator'}",
    }
    command: list[str | Path] = [sys.executable, "-m", "embedway_operator"]
    return Child(place / "operator.log", command, environment)


def made(installation: Installation) -> dict[str, Any]:
    """What the operator made of the resources, without times, numbers and revisions."""
    api = installation.api
    objects = {
        (kind, TRITON): (api.get(kind, TRITON) or {}).get("spec") for kind in ("deployments",)
    }
    service = api.get("services", TRITON) or {}
    conditions = {
        plural: [
            (one["type"], one["status"], one["reason"])
            for one in (api.get(plural, MODEL) or {}).get("status", {}).get("conditions", [])
        ]
        for plural in ("vectorspaces", "embeddingmodels", "embeddingroutes")
    }
    secret = api.get("secrets", f"{RELEASE}-router-secrets") or {}
    return {
        "objects": objects,
        "ports": service.get("spec", {}).get("ports"),
        "configuration": installation.configuration,
        "secrets": secret.get("data"),
        "conditions": conditions,
    }


def forget(installation: Installation) -> None:
    """Take away all that the operator made and said, as if it had never run."""
    api = installation.api
    for kind, name in (
        ("deployments", TRITON),
        ("services", TRITON),
        ("configmaps", f"{RELEASE}-router-config"),
        ("secrets", f"{RELEASE}-router-secrets"),
        ("leases", OPERATOR),
    ):
        if api.get(kind, name) is not None:
            api.delete(kind, name)
    for event in api.list("events"):
        api.delete("events", event["metadata"]["name"])
    for plural in ("vectorspaces", "embeddingmodels", "embeddingroutes"):
        api.patch(plural, f"{MODEL}/status", {"status": None})
    api.patch("embeddingtenants", "default/status", {"status": None})


def test_an_operator_killed_after_any_write_is_only_a_pause(
    cluster: Cluster, installation: Installation, tmp_path: Path, minilm: Path
) -> None:
    """Killed after its n-th write, for every n, the next one brings everything to the same end."""
    installation.install(values(minilm))
    victim: list[Child] = []
    deadly = [0]

    def after_write(number: int) -> None:
        if number == deadly[0]:
            victim[0].kill()

    wanted: dict[str, Any] = {}
    with WriteProxy(cluster.url, cluster.certificate, after_write) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"

        def run(name: str) -> Child:
            victim[:] = [start_operator(installation, tmp_path, url, name)]
            return victim[0]

        def is_settled() -> bool:
            return bool(made(installation)["conditions"]["embeddingroutes"])

        # Not interrupted: what it should come to, and in how many writes.
        child = run("whole")
        wait_until(is_settled, 60, child.tail)
        wait_until(lambda: _rests(proxy), 60, child.tail)
        child.kill()
        wanted, steps = made(installation), len(proxy.writes)
        assert 5 <= steps <= _MOST_WRITES, proxy.writes
        for number in range(1, steps + 1):
            forget(installation)
            proxy.writes.clear()
            deadly[0] = number
            first = run(f"killed-{number}")
            wait_until(lambda child=first: child.exit_code is not None, 60, first.tail)
            assert len(proxy.writes) >= number
            deadly[0] = 0
            # Its Lease would have to run out first; who leads next is another test's matter.
            installation.api.delete("leases", OPERATOR)
            second = run(f"next-{number}")
            wait_until(lambda: made(installation) == wanted, 60, second.tail)
            second.kill()


def _rests(proxy: WriteProxy) -> bool:
    """Whether there was no write for some seconds."""
    before = len(proxy.writes)
    time.sleep(4)
    return len(proxy.writes) == before


def test_routers_outlive_the_api_server(
    cluster: Cluster, installation: Installation, minilm: Path
) -> None:
    """Without operator and API server routers serve the last good configuration, and then go on."""
    installation.install(values(minilm))
    with installation.kubelet() as kubelet:
        kubelet.run("deployments", OPERATOR)
        wait_until(lambda: bool(installation.configuration), 60, kubelet.explain)
        kubelet.run("statefulsets", ROUTER)
        installation.wait_for("embeddingroutes", MODEL, "Programmed", "True", kubelet)
        [address] = kubelet.ready(ROUTER)
        before = served(address)
        cluster.kill_apiserver()
        try:
            [operator] = kubelet.pods(OPERATOR)
            assert operator.process is not None
            operator.process.kill()
            assert served(address) == before
        finally:
            cluster.start_apiserver()
        # The operator comes back, and a change goes through as before.
        installation.kubectl.patch("embeddingroute", MODEL, {"spec": {"spillOverSeconds": 2}})
        installation.wait_for("embeddingroutes", MODEL, "Programmed", "True", kubelet, 90)
        assert installation.configuration["routes"][MODEL]["spill_over_s"] == 2
        assert served(address)["generation"] > before["generation"]
