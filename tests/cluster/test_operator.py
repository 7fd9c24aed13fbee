"""The operator at work: what it refuses, what it corrects, and who else may lead."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.resources import provider, resource, route, secret, target
from tests.support.cluster.installation import (
    MODEL,
    OPERATOR,
    RELEASE,
    ROUTER,
    Installation,
    served,
    values,
)
from tests.support.cluster.kubelet import Kubelet
from tests.support.cluster.server import wait_until

TRITON = f"{RELEASE}-triton-{MODEL}"
# More lines than any log has.
_WHOLE = 1_000_000


@pytest.fixture
def running(installation: Installation, minilm: Path) -> Iterator[Kubelet]:
    """Installed with two operators, and the router that serves what they render."""
    installation.install(values(minilm, operator={"replicas": 2}))
    with installation.kubelet() as kubelet:
        kubelet.run("deployments", OPERATOR)
        wait_until(lambda: bool(installation.configuration), 60, kubelet.explain)
        kubelet.run("statefulsets", ROUTER)
        installation.wait_for("embeddingroutes", MODEL, "Programmed", "True", kubelet)
        yield kubelet


def test_a_day_of_an_operator(installation: Installation, running: Kubelet) -> None:
    """Generations acknowledged, mismatches refused, drift undone, and a leader that fails.

    One test, because an installation takes longer to start than all of this takes.
    """
    acknowledges_a_generation(installation, running)
    refuses_two_spaces_in_a_route(installation, running)
    corrects_drift(installation, running)
    tells_of_a_refusal(installation, running)
    follows_a_secret(installation, running)
    hands_the_lead_over(installation, running)


def acknowledges_a_generation(installation: Installation, kubelet: Kubelet) -> None:
    """Programmed says that the router serves the rendered bytes, and when it does not yet."""
    kubectl, before = installation.kubectl, installation.configuration["generation"]
    kubectl.apply(secret(), provider("remote", MODEL))
    kubectl.apply(route("both", MODEL, target(MODEL, "EmbeddingModel"), target("remote")))
    installation.wait_for("embeddingproviders", "remote", "Programmed", "True", kubelet)
    installation.wait_for("embeddingroutes", "both", "Programmed", "True", kubelet)
    configuration = installation.configuration
    assert configuration["generation"] > before
    assert configuration["routes"]["both"]["targets"] == [f"model.{MODEL}", "provider.remote"]
    answer = served(kubelet.ready(ROUTER)[0])
    text = kubectl.get("configmap", f"{RELEASE}-router-config")["data"]["embedway.yaml"]
    assert answer["hash"] == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert answer["generation"] == configuration["generation"]
    assert "a-key-of-a-provider" not in text


def refuses_two_spaces_in_a_route(installation: Installation, kubelet: Kubelet) -> None:
    """A route over two spaces is not accepted, says so, and never reaches a router."""
    kubectl = installation.kubectl
    space = {"model": "org/other", "dimensions": 384, "maxTokens": 256}
    space["tokenizer"] = installation.configuration["spaces"][MODEL]["tokenizer"]
    kubectl.apply(resource("VectorSpace", "other", **space), provider("foreign", "other"))
    kubectl.apply(route("mixed", MODEL, target("remote"), target("foreign")))
    installation.wait_for("embeddingroutes", "mixed", "Accepted", "False", kubelet)
    reason = installation.condition("embeddingroutes", "mixed", "Accepted")[1]
    assert reason == "VectorSpaceMismatch"
    assert "mixed" not in installation.configuration["routes"]
    events = [one for one in installation.api.list("events") if one["reason"] == reason]
    assert [one["involvedObject"]["name"] for one in events] == ["mixed"]
    # In place a space may not change either; the routers go on with what they have.
    changed = {"spec": {"dimensions": 256}}
    kubectl.patch("vectorspace", MODEL, changed)
    installation.wait_for("vectorspaces", MODEL, "Accepted", "False", kubelet)
    assert installation.configuration["spaces"][MODEL]["dimensions"] == 384
    kubectl.patch("vectorspace", MODEL, {"spec": {"dimensions": 384}})
    installation.wait_for("vectorspaces", MODEL, "Accepted", "True", kubelet)


def corrects_drift(installation: Installation, kubelet: Kubelet) -> None:
    """What somebody changed or deleted of the operator's objects is as it was, soon."""
    kubectl, api = installation.kubectl, installation.api
    kubectl("scale", f"deployment/{TRITON}", "--replicas=5")
    kubectl.patch("configmap", f"{RELEASE}-router-config", {"data": {"embedway.yaml": "{}"}})
    kubectl.delete("service", [TRITON])

    def is_corrected() -> bool:
        deployment = api.get("deployments", TRITON)
        return (
            deployment is not None
            and deployment["spec"]["replicas"] == 1
            and "both" in installation.configuration.get("routes", {})
            and api.get("services", TRITON) is not None
        )

    wait_until(is_corrected, 60, kubelet.explain)
    installation.wait_for("embeddingroutes", "both", "Programmed", "True", kubelet)


def tells_of_a_refusal(installation: Installation, kubelet: Kubelet) -> None:
    """What the API server does not take is said in its own words, once, until it is mended."""
    kubectl, api = installation.kubectl, installation.api

    def reason() -> str:
        return installation.condition("embeddingmodels", MODEL, "Ready")[1]

    kubectl.patch("embeddingmodel", MODEL, {"spec": {"nodeSelector": {"zone": "no label!"}}})
    wait_until(lambda: reason() == "ObjectsNotMade", 40, kubelet.explain)
    told = [one for one in api.list("events") if one["reason"] == "WriteRefused"]
    assert [one["involvedObject"]["name"] for one in told] == [MODEL]
    assert f"Deployment {TRITON}: " in told[0]["message"]
    assert "nodeSelector" in told[0]["message"]
    kubectl.patch("embeddingmodel", MODEL, {"spec": {"nodeSelector": None}})
    wait_until(lambda: reason() not in {"", "ObjectsNotMade"}, 40, kubelet.explain)


def follows_a_secret(installation: Installation, kubelet: Kubelet) -> None:
    """A key that is rotated reaches the routers' files, and is in no ConfigMap or Event.

    It is a file of its own, which the router's configuration names; the old one goes thereafter.
    """
    kubectl, before = installation.kubectl, installation.configuration["generation"]
    kubectl.apply(secret(value="the-next-key-of-a-provider"))
    [pod] = kubelet.pods(ROUTER)
    folder = pod.mounted("/etc/embedway/secrets")

    def values() -> dict[str, str]:
        try:
            return {one.name: one.read_text() for one in folder.glob("provider-key.key.*")}
        except OSError:
            # It is being swapped.
            return {}

    wait_until(
        lambda: list(values().values()) == ["the-next-key-of-a-provider"], 60, kubelet.explain
    )
    [name] = values()
    configuration = installation.configuration
    assert configuration["targets"]["provider.remote"]["api_key"]["file"].endswith(f"/{name}")
    assert served(kubelet.ready(ROUTER)[0])["generation"] == configuration["generation"] > before
    told = kubectl("get", "configmaps,events", "-o", "yaml")
    assert "of-a-provider" not in told


def hands_the_lead_over(installation: Installation, kubelet: Kubelet) -> None:
    """Two operators: one leads; killed, the other does its work within the Lease's time."""
    api = installation.api
    pods = {pod.name: pod for pod in kubelet.pods(OPERATOR)}
    assert len(pods) == 2

    def leader() -> str:
        found = api.get("leases", OPERATOR)
        return str(found["spec"]["holderIdentity"]) if found is not None else ""

    first = leader()
    assert first in pods
    logs = [pod.process.tail(_WHOLE) for pod in pods.values() if pod.process]
    assert sum('"leading"' in log for log in logs) == 1
    process = pods[first].process
    assert process is not None
    kubelet.leave(OPERATOR)
    process.kill()
    installation.kubectl.apply(route("after", MODEL))
    installation.wait_for("embeddingroutes", "after", "Programmed", "True", kubelet)
    assert leader() in set(pods) - {first}
