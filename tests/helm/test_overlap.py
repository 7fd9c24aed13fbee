"""The Job that measures a migration: the chart's pod, completed by the operator."""

from typing import Any

import kubernetes_validate
import pytest

from embedway_operator.measuring import job_of
from embedway_operator.move import Move
from embedway_operator.names import OVERLAP_TEMPLATE_KEY, Installation
from embedway_operator.observed import Resource
from router.cli import _parser
from tests.support import charts

WISH: dict[str, Any] = {
    "from_route": "old",
    "to_route": "new",
    "measurement": {"sample": {"claim": "sample"}, "key_secret": {"name": "measurer"}, "k": 20},
}


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    templates = charts.rendered("default").get("ConfigMap", "operator-templates")["data"]
    raw = {"kind": "VectorSpaceMigration", "metadata": {"name": "m", "uid": "u"}}
    move = Move(Resource(raw), WISH, "old", "new", ("old-space", "new-space"))
    move.measurement = "demo-overlap-0123456789"
    installation = Installation(charts.NAMESPACE, charts.RELEASE)
    return job_of(installation, move, templates[OVERLAP_TEMPLATE_KEY])


def test_its_arguments_are_those_of_the_command(job: dict[str, Any]) -> None:
    """`embedway overlap` takes every one of them, and asks the release's own routers."""
    options = _parser().parse_args(job["spec"]["template"]["spec"]["containers"][0]["args"])
    assert options.url.startswith(f"http://{charts.RELEASE}-router.{charts.NAMESPACE}.svc.")
    assert (options.model, options.other, options.k) == ("old", "new", 20)
    assert (options.space, options.other_space) == ("old-space", "new-space")
    assert options.at_least is None


def test_its_pod_is_as_shut_in_as_all_others(job: dict[str, Any]) -> None:
    """The routers' image, read-only and without a token; default-deny and its policy select it."""
    pod = job["spec"]["template"]
    router = charts.rendered("default").get("StatefulSet", "router")["spec"]["template"]["spec"]
    container = pod["spec"]["containers"][0]
    assert container["image"] == router["containers"][0]["image"]
    assert container["securityContext"] == router["containers"][0]["securityContext"]
    assert pod["spec"]["securityContext"] == router["securityContext"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    policy = charts.rendered("default").get("NetworkPolicy", "overlap")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["ingress"] == []


@pytest.mark.parametrize("version", ["1.25", "1.30", "1.34"])
def test_kubernetes_takes_it(job: dict[str, Any], version: str) -> None:
    """It is a valid Job of these versions."""
    kubernetes_validate.validate(job, version, strict=True)
