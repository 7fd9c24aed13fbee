"""The chart of custom resources is removed last, and leaves them."""

from tests.support.cluster.charts import Helm
from tests.support.cluster.server import Cluster


def test_uninstalling_the_definitions_leaves_them(cluster: Cluster, crds: None) -> None:
    """`helm uninstall embedway-crds` deletes no definition: every resource would go with it."""
    del crds
    engine = Helm(cluster.kubectl.kubeconfig, "embedway-system")
    engine.uninstall("embedway-crds")
    engine.close()
    kinds = cluster.kubectl("get", "crd", "-o", "name")
    assert "vectorspaces.embedway.dev" in kinds
    assert "embeddingroutes.embedway.dev" in kinds
