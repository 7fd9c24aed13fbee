"""Every scenario of the chart gives objects that Kubernetes takes."""

import json
import re
from pathlib import Path

import helm_python
import pytest
import yaml

import router
from tests.support import charts

pytestmark = pytest.mark.parametrize("name", charts.SCENARIOS)
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
_NAMED = {"app.kubernetes.io/name": "embedway", "app.kubernetes.io/instance": charts.RELEASE}


def test_helm_lints_it_clean(name: str) -> None:
    """Helm finds nothing to warn of, on the oldest Kubernetes that the chart is for."""
    found = helm_python.lint(
        charts.CHART, charts.scenario(name), strict=True, namespace="n", kube_version="1.20.0"
    )
    assert [message for message in found["messages"] if message["severity"] > 1] == []
    assert found["errors"] == []


@pytest.mark.parametrize("version", charts.KUBERNETES)
def test_kubernetes_takes_every_object(name: str, version: str) -> None:
    """Each object passes the strict schema of three Kubernetes versions, ours our own one."""
    found = {
        f"{one['kind']} {one['metadata']['name']}": charts.complaint(one, version)
        for one in charts.rendered(name).objects
    }
    assert {what: why for what, why in found.items() if why} == {}
    assert len(found) >= 7


def test_every_object_has_its_namespace_and_labels(name: str) -> None:
    """Whatever there is can be found, and told from another release's."""
    for one in charts.rendered(name).objects:
        assert one["metadata"]["namespace"] == charts.NAMESPACE, one["metadata"]["name"]
        labels = one["metadata"]["labels"]
        assert _NAMED.items() <= labels.items()
        assert {"app.kubernetes.io/component", "app.kubernetes.io/version"} <= labels.keys()
        for label in labels.values():
            assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", label), label


def test_no_two_objects_are_one(name: str) -> None:
    """No file overwrites what another made."""
    names = [
        (one["apiVersion"], one["kind"], one["metadata"]["name"])
        for one in charts.rendered(name).objects
    ]
    assert len(set(names)) == len(names)


def test_every_pod_is_restricted(name: str) -> None:
    """Pods and containers meet PodSecurity's level `restricted`, with a read-only root besides."""
    for whose, pod in charts.rendered(name).pods():
        spec = pod["spec"]
        context = spec["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 65532), whose
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, whose
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        for container in containers:
            assert container["securityContext"] == RESTRICTED, (whose, container["name"])
        allowed = {
            "configMap", "emptyDir", "projected", "secret", "downwardAPI", "persistentVolumeClaim",
        }  # fmt: skip
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= allowed, (whose, volume)
        assert "hostNetwork" not in spec


def test_only_the_operator_has_a_token(name: str) -> None:
    """A pod that never asks the API server has nothing to ask it with."""
    for whose, pod in charts.rendered(name).pods():
        is_operator = whose == f"Deployment {charts.RELEASE}-operator"
        assert pod["spec"]["automountServiceAccountToken"] is is_operator, whose
        account = pod["spec"]["serviceAccountName"]
        assert account in {
            one["metadata"]["name"] for one in charts.rendered(name).of("ServiceAccount")
        }


def test_every_pod_can_pull_its_images(name: str) -> None:
    """Pull secrets are given to every pod, the test's included, and images have a tag."""
    values = charts.merged(charts.scenario(name), {"image": {"pullSecrets": ["one", "two"]}})
    for whose, pod in charts.render(values).pods():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}], whose
        for container in pod["spec"]["containers"]:
            assert re.search(r":[^/:]+$", container["image"]), container["image"]


def test_selectors_match_the_labels_of_their_pods(name: str) -> None:
    """Services, workloads, budgets and monitors select pods that are there."""
    rendered = charts.rendered(name)
    pods = [pod["metadata"]["labels"] for _, pod in rendered.pods()]
    for one in rendered.objects:
        spec = one.get("spec", {})
        selector = spec.get("selector") or {}
        if one["kind"] == "Service":
            wanted = {
                k: v for k, v in selector.items() if k != "statefulset.kubernetes.io/pod-name"
            }
        elif one["kind"] in ("StatefulSet", "Deployment"):
            wanted = selector["matchLabels"]
            assert wanted.items() <= spec["template"]["metadata"]["labels"].items()
        elif one["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            wanted = selector["matchLabels"]
        else:
            continue
        assert any(wanted.items() <= labels.items() for labels in pods), one["metadata"]["name"]


def test_names_that_are_referred_to_are_there(name: str) -> None:
    """Config maps and accounts of pods exist, but for what people or the operator bring."""
    rendered = charts.rendered(name)
    there = {one["metadata"]["name"] for one in rendered.of("ConfigMap")} | {"more"}
    if rendered.of("VectorSpace"):
        there.add(f"{charts.RELEASE}-router-config")
    for whose, pod in rendered.pods():
        for volume in pod["spec"].get("volumes", []):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in there, whose
        mounts = {m["name"] for c in pod["spec"]["containers"] for m in c.get("volumeMounts", [])}
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        claimed = {"state", "cache"}
        assert mounts <= volumes | claimed, whose


def test_a_renderings_repeats(name: str) -> None:
    """The same values give the same objects, so an upgrade without a change changes nothing."""
    values = charts.merged(charts.scenario(name), {"key": {"existingSecret": "there"}})
    first, second = charts.render(values), charts.render(values, is_upgrade=True, revision=2)
    assert json.dumps(first.objects) == json.dumps(second.objects)


def test_notes_give_the_next_two_commands(name: str) -> None:
    """Who has installed it is told how to see a vector."""
    notes = charts.rendered(name).notes
    assert "\n1. " in notes
    assert "\n2. " in notes
    assert f"service/{charts.RELEASE}-router 8080" in notes
    assert '"model": "' in notes


def test_the_archive_holds_what_it_needs(name: str, tmp_path: Path) -> None:
    """The packaged chart has its schema and files and renders the same; it is of our release."""
    archive = helm_python.Chart.load(charts.chart().save(tmp_path))
    assert archive.schema == json.loads((charts.CHART / "values.schema.json").read_text())
    assert "files/tests/embed.py" in {file["name"] for file in archive.files}
    assert (archive.version, archive.metadata["appVersion"]) == (router.__version__,) * 2
    values = charts.merged(charts.scenario(name), {"key": {"existingSecret": "there"}})
    texts = archive.render(values, name=charts.RELEASE, namespace=charts.NAMESPACE)
    objects = [one for path, text in texts.items() if not path.endswith(".txt")
               for one in yaml.safe_load_all(text) if one]  # fmt: skip
    assert objects == list(charts.render(values).objects)
