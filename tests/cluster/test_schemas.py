"""What the API server itself takes, refuses and completes, by the chart's custom resources."""

from typing import Any

import pytest

from tests.cluster.resources import provider, resource, route, target
from tests.support.cluster.kubectl import Kubectl, KubectlError

SPACE = {"model": "org/model", "dimensions": 384, "maxTokens": 256}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        pytest.param(
            resource("VectorSpace", "s", model="org/model", dimensions=384),
            "maxTokens",
            id="a required field is missing",
        ),
        pytest.param(
            resource("VectorSpace", "s", **SPACE | {"dimensions": "many"}),
            "dimensions",
            id="a word for a number",
        ),
        pytest.param(
            resource("EmbeddingModel", "m", space="s", model="m", gpus=-1),
            "gpus",
            id="fewer than no GPUs",
        ),
        pytest.param(
            resource("EmbeddingModel", "m", space="s", model="m", engine="onnx"),
            "engine",
            id="an engine that is not there",
        ),
        pytest.param(
            resource("EmbeddingRoute", "r", space="s", targets=[]),
            "targets",
            id="a route to nowhere",
        ),
        pytest.param(
            route("r", "s", target("t", "Deployment")), "kind", id="a target that is no target"
        ),
        pytest.param(
            provider("p", "s", upstream="smtp"), "upstream", id="a protocol that no provider speaks"
        ),
        pytest.param(
            resource("EmbeddingTenant", "t", keys=[{"name": "k", "sha256": "short"}]),
            "sha256",
            id="a hash that is none",
        ),
    ],
)
def test_the_api_server_refuses(
    kubectl: Kubectl, crds: None, wrong: dict[str, Any], why: str
) -> None:
    """What could never be right is refused at `kubectl apply`, with the field's name."""
    del crds
    with pytest.raises(KubectlError, match=why):
        kubectl.apply(wrong)


def test_what_is_left_out_is_completed(kubectl: Kubectl, crds: None) -> None:
    """The stored object shows the defaults that are in force."""
    del crds
    kubectl.apply(resource("EmbeddingModel", "m", space="s", model="some_model"))
    spec = kubectl.get("embeddingmodel", "m")["spec"]
    assert (spec["replicas"], spec["gpus"], spec["engine"]) == (1, 1, "pytorch")


def test_kubectl_scales_a_model(kubectl: Kubectl, crds: None) -> None:
    """The scale subresource is there, for people and for autoscalers."""
    del crds
    kubectl.apply(resource("EmbeddingModel", "m", space="s", model="some_model"))
    kubectl("scale", "embeddingmodel/m", "--replicas=3")
    assert kubectl.get("embeddingmodel", "m")["spec"]["replicas"] == 3
