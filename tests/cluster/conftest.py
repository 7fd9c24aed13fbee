"""A real API server, and kubectl as its administrator."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster.api import Api
from tests.support.cluster.binaries import find_binaries
from tests.support.cluster.charts import CRDS, Helm
from tests.support.cluster.installation import Installation
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.server import Cluster, wait_until

_numbers = itertools.count(1)
# Their patience is long, and some of them start dozens of programs one after another.
_TIMEOUT_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder their time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Etcd and kube-apiserver, ready; nothing in it but what Kubernetes makes itself."""
    running = Cluster(tmp_path_factory.mktemp("cluster"), find_binaries())
    yield running
    running.close()


@pytest.fixture
def new_namespace(cluster: Cluster) -> Callable[[], str]:
    """Makes a namespace for one test."""

    def make() -> str:
        name = f"test-{next(_numbers)}"
        cluster.kubectl("create", "namespace", name)
        return name

    return make


@pytest.fixture
def kubectl(cluster: Cluster, new_namespace: Callable[[], str]) -> Kubectl:
    """Kubectl of an administrator in a namespace of the test's own."""
    return cluster.kubectl.within(new_namespace())


@pytest.fixture
def api(cluster: Cluster, kubectl: Kubectl) -> Api:
    """The REST interface as the same administrator in the same namespace."""
    return cluster.api(kubectl.namespace)


@pytest.fixture
def helm(kubectl: Kubectl) -> Iterator[Helm]:
    """Helm as the same administrator in the same namespace."""
    engine = Helm(kubectl.kubeconfig, kubectl.namespace)
    yield engine
    engine.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for logs and volumes."""
    return tmp_path


def _condition(crd: dict[str, Any], kind: str) -> dict[str, Any]:
    found = crd.get("status", {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> None:
    """The chart of custom resources, installed once: they belong to the whole cluster."""
    cluster.kubectl("create", "namespace", "embedway-system")
    engine = Helm(cluster.kubectl.kubeconfig, "embedway-system")
    engine.install(CRDS, "embedway-crds")
    engine.close()
    api = cluster.api("embedway-system")

    def are_established() -> bool:
        found = api.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        conditions = [_condition(crd, "Established") for crd in found["items"]]
        return all(one.get("status") == "True" for one in conditions)

    wait_until(are_established, 60)


@pytest.fixture
def installation(
    cluster: Cluster, crds: None, new_namespace: Callable[[], str], tmp_path: Path
) -> Iterator[Installation]:
    """A namespace in which the chart can be installed."""
    del crds
    made = Installation(cluster, new_namespace(), tmp_path)
    yield made
    made.helm.close()
