"""Quantities are amounts, however they are written."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedway_operator.plan import plan
from embedway_operator.quantities import amount_of, same_amount
from embedway_operator.writes import has_drifted
from tests.routing_operator.worlds import MODEL, a_world, settle
from tests.support.quantities import canonical


@pytest.mark.parametrize(
    ("requests", "limits"),
    [
        ({"cpu": "2000m", "memory": "4096Mi"}, {"memory": "1024Ki"}),
        ({"cpu": "0.5"}, {"memory": "1.5Gi"}),
        ({"cpu": "1500m"}, {"memory": "2000M", "ephemeral-storage": "1000k"}),
    ],
)
def test_a_quantity_that_is_written_in_another_way_is_no_drift(
    requests: dict[str, str], limits: dict[str, str]
) -> None:
    """The server keeps it in its own way, and another look writes nothing."""
    world = a_world()
    resources = {"requests": requests, "limits": limits}
    world.declare("EmbeddingModel", "local", {**MODEL, "resources": resources})
    settle(world)
    made = plan(world.look())
    assert made.writes == ()
    assert made.is_settled


def test_another_amount_is_drift() -> None:
    """What somebody else has set is set back."""
    world = a_world()
    requests = {"requests": {"memory": "4096Mi"}}
    world.declare("EmbeddingModel", "local", {**MODEL, "resources": requests})
    settle(world)
    deployment = world.cluster.objects["Deployment", "rel-triton-local"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["memory"] == "4Gi"
    container["resources"]["requests"]["memory"] = "3Gi"
    settle(world)
    deployment = world.cluster.objects["Deployment", "rel-triton-local"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["memory"] == "4Gi"


def test_only_quantities_are_amounts() -> None:
    """The text of an environment variable or an annotation is no number."""
    env = [{"name": "LIMIT", "value": "1000m"}]
    assert has_drifted({"env": env}, {"env": [{"name": "LIMIT", "value": "1"}]})
    assert has_drifted({"annotations": {"a": "1000m"}}, {"annotations": {"a": "1"}})
    assert not has_drifted({"emptyDir": {"sizeLimit": 1024}}, {"emptyDir": {"sizeLimit": "1024"}})


def test_a_volume_of_the_template_has_a_size() -> None:
    """`sizeLimit` of a volume in memory is a quantity as well."""
    world = a_world()
    data = world.cluster.objects["ConfigMap", "rel-operator-templates"]["data"]
    data["triton-pod.yaml"] = data["triton-pod.yaml"].replace(
        "emptyDir: {}", "emptyDir: {medium: Memory, sizeLimit: 2048Mi}"
    )
    settle(world)
    assert plan(world.look()).writes == ()


_SUFFIXES = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]


@given(
    st.decimals(0, 10**6, places=3).map(lambda number: f"{number:f}"), st.sampled_from(_SUFFIXES)
)
def test_every_way_to_write_an_amount_is_the_same(number: str, suffix: str) -> None:
    """As it is written, and as a server keeps it."""
    text = number + suffix
    if suffix.endswith("i") and "." in number.rstrip("0").rstrip("."):
        return
    assert same_amount(text, canonical(text))


@pytest.mark.parametrize(
    "text", ["", "m", "1e", "one", "1 Gi", "1Gb", ".", "0x1", "true", "1e9999"]
)
def test_what_is_no_quantity_has_no_amount(text: str) -> None:
    """It is compared as the text that it is."""
    assert amount_of(text) is None
    assert not same_amount(text, text)


@given(st.text(string.printable, max_size=12))
def test_no_text_breaks_the_comparison(text: str) -> None:
    """A quantity or not."""
    amount_of(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1e3", "1k"), ("1E", "1000P"), ("12E2", "1200"), ("+1.50", "1500m"), (2, "2")],
)
def test_exponents_and_signs_are_read(one: object, other: object) -> None:
    """All that Kubernetes takes."""
    assert same_amount(one, other)
