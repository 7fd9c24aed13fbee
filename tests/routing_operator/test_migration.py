"""A migration of tenants between two spaces, from its first phase to its last, and back."""

import json
from typing import Any

import pytest

from embedway_operator.names import MEASUREMENT_LABEL
from embedway_operator.plan import plan
from router.config.resources import PHASES
from tests.routing_operator.worlds import MIGRATION, MODEL, SPACE, a_world, settle, target
from tests.support.fake_cluster import World

NAME = "to-small"
SMALL = {**SPACE, "model": "Qwen/Qwen3-Embedding-0.6B", "dimensions": 1024}


def settled_world() -> World:
    """Two spaces with a route each, and three tenants that ask for the old one."""
    world = a_world()
    world.declare("VectorSpace", "small", SMALL)
    world.declare("EmbeddingModel", "small", {**MODEL, "space": "small"})
    world.declare(
        "EmbeddingRoute",
        "small",
        {"space": "small", "targets": [target("EmbeddingModel", "small")]},
    )
    world.declare("EmbeddingTenant", "beta", {"keys": []})
    world.declare("EmbeddingTenant", "gamma", {"keys": []})
    settle(world)
    return world


@pytest.fixture
def world() -> World:
    return settled_world()


def wish(world: World, phase: str, **fields: Any) -> None:
    world.declare("VectorSpaceMigration", NAME, {**MIGRATION, "phase": phase, **fields})
    settle(world)


def status(world: World, name: str = NAME) -> dict[str, Any]:
    return dict(world.cluster.objects["VectorSpaceMigration", name]["status"])


def pins(world: World) -> dict[str, dict[str, str]]:
    tenants = world.configuration()["tenants"]
    return {name: one["pins"] for name, one in tenants.items() if "pins" in one}


def jobs(world: World) -> list[dict[str, Any]]:
    return [one for (kind, _), one in sorted(world.cluster.objects.items()) if kind == "Job"]


def finish(world: World, recall: float, exit_code: int = 0, **changes: Any) -> None:
    """What the cluster does with the one Job: a pod that ends with figures, or with a sentence."""
    (job,) = jobs(world)
    found = {"spaces": ["qwen", "small"], "recall": recall, "documents": 200, "k": 10} | changes
    message = json.dumps(found) if exit_code == 0 else "embedway: small: refused with 401"
    world.end_pod(job, exit_code, message)
    kind = "Complete" if exit_code == 0 else "Failed"
    job["status"] = {"conditions": [{"type": kind, "status": "True", "message": "backoff"}]}
    settle(world)


def measured(world: World, recall: float = 0.9) -> None:
    """Come to the end of Shadow."""
    wish(world, "Shadow", backfilled=True)
    finish(world, recall)


def cut_over(world: World, *tenants: str, **fields: Any) -> None:
    wish(world, "Cutover", backfilled=True, cutover={"tenants": list(tenants)}, **fields)


def condition(world: World, word: str) -> tuple[str, str, str]:
    return world.condition("VectorSpaceMigration", NAME, word)


def test_the_whole_way(world: World) -> None:
    """Phase by phase, tenants one after another, until the old route can be deleted."""
    for phase in ("Prepare", "DualServe"):
        wish(world, phase)
        assert status(world)["phase"] == phase
        assert condition(world, "Ready")[0] == "True"
    wish(world, "Backfill", backfilled=True)
    assert jobs(world) == []
    measured(world)
    assert status(world)["overlap"]["recall"] == 0.9
    assert jobs(world) == []
    assert pins(world) == {}
    cut_over(world, "acme")
    assert pins(world) == {"acme": {"qwen": "small"}}
    assert status(world)["pinnedTenants"] == ["acme"]
    everyone = {"backfilled": True, "cutover": {"everyone": True}}
    wish(world, "Cutover", **everyone)
    assert status(world)["pinnedTenants"] == ["acme", "beta", "gamma"]
    wish(world, "Retain", **everyone)
    assert status(world)["phase"] == "Retain"
    wish(world, "Retire", **everyone)
    assert status(world)["phase"] == "Retain"
    assert "for a way back until" in condition(world, "Ready")[2]
    world.clock.wall += 24 * 3600 + 1
    settle(world)
    assert status(world)["phase"] == "Retire"
    world.cluster.remove("EmbeddingRoute", "qwen")
    settle(world)
    assert "qwen" not in world.configuration()["routes"]
    assert pins(world)["acme"] == {"qwen": "small"}
    assert status(world)["phase"] == "Retire"


@pytest.mark.parametrize("phase", PHASES[2:])
def test_no_phase_is_skipped(world: World, phase: str) -> None:
    """A migration that is created in a later phase waits where what it needs is missing."""
    wish(world, phase, cutover={"everyone": True})
    assert status(world)["phase"] == "Backfill"
    assert pins(world) == {}
    waits = ("Waiting", "Backfill: spec.backfilled is not true yet")
    assert condition(world, "Ready")[1:] == waits


def test_nobody_moves_below_the_asked_overlap(world: World) -> None:
    """Too low a recall keeps everyone where they are, and says so; a new run may find more."""
    measured(world, recall=0.79)
    cut_over(world, "acme")
    assert pins(world) == {}
    assert status(world)["phase"] == "Shadow"
    assert condition(world, "Measured")[:2] == ("False", "OverlapTooLow")
    assert "0.79" in condition(world, "Ready")[2]
    again = {**MIGRATION["measurement"], "run": 2}
    cut_over(world, "acme", measurement=again)
    finish(world, 0.8)
    assert pins(world) == {"acme": {"qwen": "small"}}


def test_figures_of_other_spaces_move_nobody(world: World) -> None:
    """A result that is not of the two spaces counts as none."""
    wish(world, "Shadow", backfilled=True)
    finish(world, 1.0, spaces=["small", "small"])
    assert condition(world, "Measured")[0] == "Unknown"


def test_a_measurement_that_fails_is_told_and_not_repeated(world: World) -> None:
    """The pod's last words are the message; the Job stays until somebody asks for another run."""
    wish(world, "Shadow", backfilled=True)
    finish(world, 0.0, exit_code=1)
    status_word, reason, message = condition(world, "Measured")
    assert (status_word, reason) == ("False", "MeasurementFailed")
    assert "refused with 401" in message
    assert len(jobs(world)) == 1
    wish(world, "Shadow", backfilled=True, measurement={**MIGRATION["measurement"], "run": 2})
    assert len(jobs(world)) == 1
    finish(world, 0.95)
    assert condition(world, "Measured")[0] == "True"


def test_a_pod_that_cannot_start_says_why(world: World) -> None:
    """A Secret that is missing is named, and the measurement goes on when it is there."""
    wish(world, "Shadow", backfilled=True)
    (job,) = jobs(world)
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "measurer" not found'}
    world.pod_of(job, {"waiting": waiting})
    settle(world)
    assert condition(world, "Measured")[:2] == ("Unknown", "PodWaits")
    assert 'secret "measurer" not found' in condition(world, "Ready")[2]
    finish(world, 0.9)
    assert condition(world, "Measured")[0] == "True"


def test_a_rollback_ends_the_measurement(world: World) -> None:
    """Its Job goes."""
    wish(world, "Shadow", backfilled=True)
    assert len(jobs(world)) == 1
    wish(world, "RolledBack", backfilled=True)
    assert jobs(world) == []


def test_a_missing_template_is_told(world: World) -> None:
    """An older chart brings none: the migration says which object lacks it."""
    del world.cluster.objects["ConfigMap", "rel-operator-templates"]["data"]["overlap-pod.yaml"]
    wish(world, "Shadow", backfilled=True)
    assert condition(world, "Ready")[1] == "ObjectsNotMade"
    assert "rel-operator-templates" in condition(world, "Ready")[2]


def test_the_job_asks_both_routes_and_gets_the_key_from_its_secret(world: World) -> None:
    """The operator reads neither the key nor the sample; the pod is the chart's."""
    wish(world, "Shadow", backfilled=True)
    (job,) = jobs(world)
    pod = job["spec"]["template"]
    container = pod["spec"]["containers"][0]
    assert container["args"][:2] == ["overlap", "--url=http://rel-router.ns.svc:8080/v1"]
    assert {"--model=qwen", "--other=small", "--space=qwen", "--other-space=small"} <= set(
        container["args"]
    )
    assert container["env"][-1]["valueFrom"]["secretKeyRef"] == {"name": "measurer", "key": "key"}
    assert pod["spec"]["volumes"][-1] == {"name": "sample", "configMap": {"name": "sample"}}
    assert pod["metadata"]["labels"][MEASUREMENT_LABEL] == job["metadata"]["name"]
    assert job["metadata"]["ownerReferences"][0]["name"] == NAME


def test_the_new_space_must_be_found_by_a_router(world: World) -> None:
    """While no router has found vectors of the new space, the first phase does not end."""
    world.standings["model.small"] = "unverified"
    wish(world, "DualServe")
    assert status(world)["phase"] == "Prepare"
    assert "no router has found vectors of small" in condition(world, "Ready")[2]


def test_routes_of_one_space_are_no_migration(world: World) -> None:
    """Inside a space targets are changed, and nobody is pinned."""
    world.declare(
        "EmbeddingRoute", "twin", {"space": "qwen", "targets": [target("EmbeddingModel", "local")]}
    )
    settle(world)
    wish(world, "Prepare", toRoute="twin")
    assert condition(world, "Accepted")[:2] == ("False", "SameSpace")


def test_two_migrations_from_one_route_are_not_taken(world: World) -> None:
    """The older one stands."""
    wish(world, "Prepare")
    world.cluster.objects["VectorSpaceMigration", NAME]["metadata"]["creationTimestamp"] = (
        "2025-01-01T00:00:00Z"
    )
    world.declare("VectorSpaceMigration", "other", {**MIGRATION, "phase": "Prepare"})
    settle(world)
    assert world.condition("VectorSpaceMigration", "other", "Accepted")[:2] == (
        "False", "Conflict",
    )  # fmt: skip


def test_the_way_back_is_not_pinned_in_a_circle(world: World) -> None:
    """While tenants are pinned one way, a migration the other way is refused."""
    measured(world)
    cut_over(world, "acme")
    world.declare(
        "VectorSpaceMigration", "back",
        {**MIGRATION, "fromRoute": "small", "toRoute": "qwen", "phase": "Prepare"},
    )  # fmt: skip
    settle(world)
    assert world.condition("VectorSpaceMigration", "back", "Accepted")[:2] == ("False", "Circle")
    assert pins(world) == {"acme": {"qwen": "small"}}


@pytest.mark.parametrize("phase", ["Cutover", "Retain"])
def test_everything_is_rolled_back(world: World, phase: str) -> None:
    """From any phase before the last, tenants ask for the old space again."""
    measured(world)
    cutover = {"backfilled": True, "cutover": {"everyone": True}}
    wish(world, "Cutover", **cutover)
    wish(world, phase, **cutover)
    assert len(pins(world)) == 3
    wish(world, "RolledBack", **cutover)
    assert pins(world) == {}
    assert status(world)["phase"] == "RolledBack"
    assert status(world)["pinnedTenants"] == []
    assert condition(world, "Programmed")[0] == "True"


def test_one_tenant_goes_back(world: World) -> None:
    """Who leaves the list goes back, and the others stay."""
    measured(world)
    cut_over(world, "acme", "beta")
    cut_over(world, "beta")
    assert pins(world) == {"beta": {"qwen": "small"}}


def test_a_tenant_counts_as_moved_when_every_router_serves_its_pin(world: World) -> None:
    """Until then it is pending, and Programmed is false."""
    measured(world)
    world.pending_error = "busy"
    world.declare(
        "VectorSpaceMigration", NAME,
        {**MIGRATION, "phase": "Cutover", "backfilled": True, "cutover": {"tenants": ["acme"]}},
    )  # fmt: skip
    for _ in range(3):
        world.write(plan(world.look()).writes)
        world.take()
    assert status(world)["pendingTenants"] == ["acme"]
    assert condition(world, "Programmed")[0] == "False"
    world.pending_error = None
    settle(world)
    assert status(world)["pinnedTenants"] == ["acme"]


def test_retain_waits_for_the_last_tenant(world: World) -> None:
    """The old space is not left while anybody is in it."""
    measured(world)
    cut_over(world, "acme", "beta")
    wish(world, "Retain", backfilled=True, cutover={"tenants": ["acme", "beta"]})
    assert status(world)["phase"] == "Cutover"
    assert "gamma" in condition(world, "Ready")[2]


@pytest.mark.parametrize(
    "gone",
    [
        [("EmbeddingRoute", "small")],
        [("VectorSpace", "small")],
        [("EmbeddingModel", "small")],
        [("EmbeddingRoute", "small"), ("EmbeddingModel", "small"), ("VectorSpace", "small")],
        [("VectorSpaceMigration", NAME), ("EmbeddingRoute", "small"), ("VectorSpace", "small")],
    ],
    ids=["route", "space", "model", "all three", "the migration too"],
)
def test_what_tenants_are_pinned_to_stays(world: World, gone: list[tuple[str, str]]) -> None:
    """Its deletion takes nothing from routers, and throws nobody back into the old space."""
    measured(world)
    cut_over(world, "acme")
    before = world.configuration()
    for kind, name in gone:
        world.cluster.remove(kind, name)
    settle(world)
    after = world.configuration()
    for section in ("spaces", "targets", "routes", "tenants"):
        assert after[section] == before[section], section
    if ("EmbeddingRoute", "small") in gone and len(gone) == 1:
        assert condition(world, "ResolvedRefs")[0] == "False"
        assert "routers go on with it" in condition(world, "ResolvedRefs")[2]


def test_the_old_space_stays_until_it_is_retired(world: World) -> None:
    """Its resources may be deleted too early; a rollback still finds it."""
    measured(world)
    cut_over(world, "acme", "beta", "gamma")
    for kind, name in (("EmbeddingRoute", "qwen"), ("VectorSpace", "qwen")):
        world.cluster.remove(kind, name)
    settle(world)
    assert "qwen" in world.configuration()["routes"]
    wish(world, "RolledBack", backfilled=True)
    assert pins(world) == {}
    assert "qwen" in world.configuration()["routes"]


def test_a_lost_status_moves_nobody(world: World) -> None:
    """Without its status a migration measures anew; who has moved stays where they are."""
    measured(world)
    cut_over(world, "acme")
    del world.cluster.objects["VectorSpaceMigration", NAME]["status"]
    settle(world)
    assert pins(world) == {"acme": {"qwen": "small"}}
    assert status(world)["phase"] == "Shadow"
    cut_over(world, "acme", "beta")
    assert pins(world) == {"acme": {"qwen": "small"}}
    finish(world, 0.9)
    assert set(pins(world)) == {"acme", "beta"}


def test_an_end_between_any_two_writes_is_only_a_pause() -> None:
    """Killed after any number of writes of any step, the way and its end are the same."""
    steps: list[tuple[str, dict[str, Any]]] = [
        ("Shadow", {"backfilled": True}),
        ("Cutover", {"backfilled": True, "cutover": {"tenants": ["acme"]}}),
        ("Cutover", {"backfilled": True, "cutover": {"everyone": True}}),
        ("RolledBack", {"backfilled": True}),
    ]

    def walk(cut: int | None) -> list[Any]:
        world, seen = settled_world(), []
        for phase, fields in steps:
            world.declare("VectorSpaceMigration", NAME, {**MIGRATION, "phase": phase, **fields})
            if cut is not None:
                world.write(plan(world.look()).writes[:cut])
            settle(world)
            if jobs(world):
                finish(world, 0.9)
            found = status(world)
            seen.append((pins(world), found["phase"], found["pinnedTenants"], len(jobs(world))))
        return seen

    whole = walk(None)
    assert [phase for _, phase, _, _ in whole] == ["Shadow", "Cutover", "Cutover", "RolledBack"]
    for cut in range(7):
        assert walk(cut) == whole, cut


def test_no_tenant_moves_before_the_file_holds_both_routes(world: World) -> None:
    """In every configuration on the way each pin leads to a route that is there."""
    measured(world)
    world.declare(
        "VectorSpaceMigration", NAME,
        {**MIGRATION, "phase": "Cutover", "backfilled": True, "cutover": {"everyone": True}},
    )  # fmt: skip
    world.cluster.remove("EmbeddingRoute", "small")
    for _ in range(8):
        for write in plan(world.look()).writes:
            world.write((write,))
            content = world.configuration()
            for its in pins(world).values():
                assert set(its.values()) <= content["routes"].keys()
        world.take()
