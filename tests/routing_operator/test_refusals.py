"""What becomes of a write that the API server refuses: it is told, and tried again in good time."""

import asyncio
import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest

from embedway_operator.errors import ClusterError, ConflictError
from embedway_operator.reconciler import Reconciler
from tests.routing_operator.test_migration import settled_world
from tests.routing_operator.worlds import MIGRATION, MODEL, ROUTE, a_world, an_operator, settle
from tests.support.fake_cluster import World

SENTENCE = 'admission webhook "images.example.com" denied the request: untrusted registry'
NAME = "rel-triton-local"


class Gate:
    """Refuses writes of one kind, and counts how often it had to."""

    def __init__(self, world: World, verb: str, kind: str, status: int = 403) -> None:
        self.is_shut, self.asked, self.status = True, 0, status
        self._place = verb, kind
        world.cluster.fault = self._refuse

    def _refuse(self, verb: str, kind: str, name: str) -> None:
        if (verb, kind) == self._place and self.is_shut:
            self.asked += 1
            error = ConflictError if self.status == 409 else ClusterError
            path = f"PATCH /apis/{kind}/{name}"
            raise error(f"{path}: {self.status} {SENTENCE}", self.status, SENTENCE)


def passes(world: World, operator: Reconciler, count: int, apart_s: float = 2.0) -> None:
    """So many passes of an operator, and routers and pods that follow."""
    for _ in range(count):
        asyncio.run(operator.work())
        world.take()
        world.clock.monotonic += apart_s


def told(world: World, reason: str) -> list[dict[str, Any]]:
    """Events with this reason."""
    events = [one for (kind, _), one in world.cluster.objects.items() if kind == "Event"]
    return [one for one in events if one["reason"] == reason]


@pytest.fixture
def world() -> World:
    made = a_world()
    settle(made)
    return made


def change(world: World, **wishes: Any) -> None:
    world.declare("EmbeddingModel", "local", {**MODEL, **wishes})


@pytest.mark.parametrize("status", [400, 403, 422, 409, 429, 500, 0])
def test_a_model_whose_change_is_refused_is_not_ready(world: World, status: int) -> None:
    """The old pods serve, and yet it is not what is wished: the API server's sentence says why."""
    gate = Gate(world, "apply", "Deployment", status)
    operator = an_operator(world)
    change(world, image="mine:2")
    passes(world, operator, 4)
    assert world.condition("EmbeddingModel", "local", "Ready") == (
        "False", "ObjectsNotMade", f"Deployment {NAME}: {SENTENCE}",
    )  # fmt: skip
    assert world.condition("EmbeddingRoute", "qwen", "Ready")[0] == "True"
    gate.is_shut = False
    passes(world, operator, 4, 10)
    assert world.condition("EmbeddingModel", "local", "Ready") == ("True", "Ready", "it serves")


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (422, 1), (500, 2), (409, 2), (0, 2)])
def test_what_may_pass_by_itself_is_told_the_second_time(
    world: World, status: int, tries: int
) -> None:
    """An etcd that is slow for a moment takes `Ready` from nobody."""
    gate = Gate(world, "apply", "Deployment", status)
    operator = an_operator(world)
    change(world, image="mine:2")
    while world.condition("EmbeddingModel", "local", "Ready")[1] != "ObjectsNotMade":
        passes(world, operator, 1, 0.5)
    assert gate.asked == tries


def test_a_new_model_says_why_it_has_no_pods() -> None:
    """Not that its space is unverified, which is only what follows."""
    world = a_world()
    Gate(world, "apply", "Deployment")
    passes(world, an_operator(world), 3)
    assert world.condition("EmbeddingModel", "local", "Ready")[1:] == (
        "ObjectsNotMade", f"Deployment {NAME}: {SENTENCE}",
    )  # fmt: skip


def test_a_refusal_is_an_event_once_a_transition(world: World) -> None:
    """However often it is tried; and again when it happens again."""
    gate = Gate(world, "apply", "Deployment")
    operator = an_operator(world)
    change(world, image="mine:2")
    passes(world, operator, 40, 20)
    assert gate.asked > 5
    [event] = told(world, "WriteRefused")
    assert (event["type"], event["message"]) == ("Warning", f"Deployment {NAME}: {SENTENCE}")
    assert event["involvedObject"]["name"] == "local"
    gate.is_shut = False
    world.clock.wall += 100
    passes(world, operator, 4, 60)
    gate.is_shut = True
    change(world, image="mine:3")
    passes(world, operator, 4)
    assert len(told(world, "WriteRefused")) == 2


def test_another_operator_does_not_tell_it_again(world: World) -> None:
    """The status is the memory: a new leader finds the refusal in it."""
    Gate(world, "apply", "Deployment")
    change(world, image="mine:2")
    passes(world, an_operator(world), 3)
    passes(world, an_operator(world), 3)
    assert len(told(world, "WriteRefused")) == 1
    assert world.condition("EmbeddingModel", "local", "Ready")[1] == "ObjectsNotMade"


def test_every_refused_object_is_named(world: World) -> None:
    """Two of a model are two sentences and two Events."""

    def fault(verb: str, kind: str, name: str) -> None:
        if verb == "apply" and kind in {"Deployment", "Service"}:
            raise ClusterError("refused", 403, f"no {kind} today")

    world.cluster.fault = fault
    for kind in ("Deployment", "Service"):
        world.cluster.objects.pop((kind, NAME))
        world.cluster.applied.pop((kind, NAME))
    passes(world, an_operator(world), 3)
    message = world.condition("EmbeddingModel", "local", "Ready")[2]
    assert message == f"Deployment {NAME}: no Deployment today; Service {NAME}: no Service today"
    assert len(told(world, "WriteRefused")) == 2


def test_a_refused_write_is_tried_less_and_less_often(world: World) -> None:
    """After 2, 4, 8, 16 and 32 seconds, and then every minute."""
    gate = Gate(world, "apply", "Deployment")
    operator = an_operator(world)
    change(world, image="mine:2")
    tried = []
    for second in range(250):
        before = gate.asked
        passes(world, operator, 1, 1.0)
        if gate.asked > before:
            tried.append(second)
    assert tried == [0, 2, 6, 14, 30, 62, 122, 182, 242]


def test_another_wish_is_tried_at_once(world: World) -> None:
    """What was put right is not kept waiting for what was wrong."""
    gate = Gate(world, "apply", "Deployment")
    operator = an_operator(world)
    change(world, image="mine:2")
    passes(world, operator, 60, 1.0)
    change(world, image="mine:3")
    before = gate.asked
    passes(world, operator, 1, 0.0)
    assert gate.asked == before + 1
    passes(world, operator, 1, 0.0)
    assert gate.asked == before + 1
    # And the wait begins anew.
    world.clock.monotonic += 2
    passes(world, operator, 1, 0.0)
    assert gate.asked == before + 2


def test_a_wish_that_is_taken_back_is_no_refusal_any_more(world: World) -> None:
    """The Deployment is as it is wished again, without having been written."""
    Gate(world, "apply", "Deployment")
    operator = an_operator(world)
    change(world, image="mine:2")
    passes(world, operator, 3)
    change(world)
    passes(world, operator, 2, 0.0)
    assert world.condition("EmbeddingModel", "local", "Ready")[0] == "True"


def test_nothing_is_looked_at_every_two_seconds_for_a_refusal(world: World) -> None:
    """Where nothing else is to be done, the next look is when it is tried again, or the usual."""
    Gate(world, "apply", "Deployment")
    operator = an_operator(world)
    change(world, image="mine:2")
    passes(world, operator, 20, 10)
    pauses = []
    for _ in range(30):
        pauses.append(asyncio.run(operator.work()))
        world.clock.monotonic += pauses[-1]
    assert sum(pauses) / len(pauses) > 7


def test_a_refused_write_holds_up_no_other(world: World) -> None:
    """In the very same pass the route is changed, and so it is in those that follow."""
    Gate(world, "apply", "Deployment")
    operator = an_operator(world)
    change(world, image="mine:2")
    for strategy in ("fastest", "cheapest"):
        world.declare("EmbeddingRoute", "qwen", {**ROUTE, "strategy": strategy})
        passes(world, operator, 1)
        assert world.configuration()["routes"]["qwen"]["strategy"] == strategy


def test_a_conflict_of_an_object_that_is_not_locked_holds_up_no_other(world: World) -> None:
    """A quota that two writes changed at once: the model's Deployment waits, and nothing else."""
    Gate(world, "apply", "Deployment", 409)
    change(world, image="mine:2")
    world.declare("EmbeddingRoute", "qwen", {**ROUTE, "strategy": "fastest"})
    world.cluster.objects.pop(("Service", NAME))
    passes(world, an_operator(world), 1)
    assert ("Service", NAME) in world.cluster.objects
    assert world.configuration()["routes"]["qwen"]["strategy"] == "fastest"


def test_a_configuration_that_is_refused_is_told_of(world: World) -> None:
    """Programmed is false with the sentence, not with routers that are said to be slow."""
    gate = Gate(world, "apply", "ConfigMap")
    operator = an_operator(world)
    world.declare("EmbeddingRoute", "qwen", {**ROUTE, "strategy": "fastest"})
    passes(world, operator, 3)
    assert world.condition("EmbeddingRoute", "qwen", "Programmed") == (
        "False", "WriteRefused", f"ConfigMap rel-router-config: {SENTENCE}",
    )  # fmt: skip
    assert world.condition("EmbeddingTenant", "acme", "Programmed")[0] == "True"
    gate.is_shut = False
    passes(world, operator, 4, 60)
    assert world.condition("EmbeddingRoute", "qwen", "Programmed")[0] == "True"


def test_no_configuration_names_values_that_could_not_be_written(world: World) -> None:
    """A router that starts anew would not come up with it; the last one stays."""
    Gate(world, "apply", "Secret")
    operator = an_operator(world)
    before = world.configuration()
    world.secret("beta", key="ew-of-another-tenant-01234567")
    keys = [{"name": "k", "secret": {"name": "beta"}}]
    world.declare("EmbeddingTenant", "beta", {"keys": keys})
    passes(world, operator, 8)
    assert world.configuration() == before
    assert world.condition("EmbeddingTenant", "beta", "Programmed")[1:] == (
        "WriteRefused", f"Secret rel-router-secrets: {SENTENCE}",
    )  # fmt: skip


def test_a_measurement_that_is_refused_is_told_of_by_its_migration() -> None:
    """Not Ready, with the sentence, and an Event."""
    world = settled_world()
    wish = {**MIGRATION, "phase": "Shadow", "backfilled": True}
    world.declare("VectorSpaceMigration", "to-small", wish)
    Gate(world, "apply", "Job")
    passes(world, an_operator(world), 8)
    status, reason, message = world.condition("VectorSpaceMigration", "to-small", "Ready")
    assert (status, reason) == ("False", "ObjectsNotMade")
    assert SENTENCE in message
    [event] = told(world, "WriteRefused")
    assert event["involvedObject"]["kind"] == "VectorSpaceMigration"


@pytest.mark.parametrize(
    ("verb", "kind", "change_it"),
    [
        ("status", "EmbeddingModel", lambda world: change(world, maxInputsPerCall=64)),
        ("create", "Event", lambda world: change(world, maxInputsPerCall=1)),
    ],
    ids=["status", "event"],
)
def test_a_status_that_is_refused_is_tried_less_often_too(
    world: World, verb: str, kind: str, change_it: Callable[[World], None]
) -> None:
    """Its times are those of the try, and make no other wish of it."""
    gate = Gate(world, verb, kind)
    operator = an_operator(world)
    change_it(world)
    for _ in range(60):
        world.clock.wall += 1
        passes(world, operator, 1, 1.0)
    assert 1 <= gate.asked < 16


def test_a_refusal_is_logged_when_it_is_met(world: World) -> None:
    """As often as it is asked for, with the code."""
    gate, text = Gate(world, "apply", "Deployment"), StringIO()
    change(world, image="mine:2")
    passes(world, an_operator(world, text), 20, 1.0)
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    refused = [one for one in lines if one["event"] == "write_refused"]
    assert len(refused) == gate.asked
    assert {one["status"] for one in refused} == {403}
    assert SENTENCE in refused[0]["error"]
