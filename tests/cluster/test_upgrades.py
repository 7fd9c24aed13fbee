"""From one version of the charts to the next, and away."""

from pathlib import Path

import pytest

from tests.cluster.resources import provider, secret
from tests.support.cluster.charts import EMBEDWAY, packaged
from tests.support.cluster.installation import MODEL, RELEASE, Installation, values
from tests.support.cluster.kubectl import KubectlError


def test_an_upgrade_keeps_what_people_made(
    installation: Installation, tmp_path: Path, minilm: Path
) -> None:
    """Resources, the first key and the routers' volumes are those of before the upgrade.

    There is no earlier release yet: the version before is this chart under a lower number.
    """
    api, kubectl = installation.api, installation.kubectl
    installation.install(values(minilm), packaged(EMBEDWAY, tmp_path, "0.0.9"))
    kubectl.apply(secret(), provider("mine", MODEL))
    before = {
        "key": installation.key(),
        "mine": api.get("embeddingproviders", "mine"),
        "claims": _claims(installation),
        "uid": _uid(installation),
    }
    chart = api.get("configmaps", f"{RELEASE}-router-base")
    assert chart is not None
    assert chart["metadata"]["labels"]["helm.sh/chart"] == "embedway-0.0.9"
    installation.helm.upgrade(EMBEDWAY, RELEASE, values(minilm))
    chart = api.get("configmaps", f"{RELEASE}-router-base")
    assert chart is not None
    assert chart["metadata"]["labels"]["helm.sh/chart"] != "embedway-0.0.9"
    assert before == {
        "key": installation.key(),
        "mine": api.get("embeddingproviders", "mine"),
        "claims": _claims(installation),
        "uid": _uid(installation),
    }


def test_uninstalling_keeps_definitions_and_what_people_made(
    installation: Installation, minilm: Path
) -> None:
    """`helm uninstall` takes the release's own objects; others' resources and the CRDs stay."""
    installation.install(values(minilm))
    installation.kubectl.apply(secret(), provider("mine", MODEL))
    installation.helm.uninstall(RELEASE)
    assert installation.api.get("embeddingproviders", "mine") is not None
    assert installation.api.list("statefulsets") == []
    with pytest.raises(KubectlError, match="NotFound"):
        installation.kubectl.get("serviceaccount", f"{RELEASE}-operator")


def _claims(installation: Installation) -> object:
    found = installation.api.get("statefulsets", f"{RELEASE}-router")
    assert found is not None
    return found["spec"]["volumeClaimTemplates"]


def _uid(installation: Installation) -> str:
    """A StatefulSet that was made anew would have another, and lost its Pods meanwhile."""
    found = installation.api.get("statefulsets", f"{RELEASE}-router")
    assert found is not None
    return str(found["metadata"]["uid"])
