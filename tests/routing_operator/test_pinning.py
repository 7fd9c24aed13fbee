"""Whose pins are whose: one migration takes back nobody whom another has moved."""

import asyncio
import json
from typing import Any

import pytest

from embedway_operator.errors import ClusterError
from embedway_operator.execution import carry_out
from embedway_operator.plan import plan
from embedway_operator.refusals import Refusals
from tests.routing_operator.test_migration import (
    NAME,
    cut_over,
    jobs,
    measured,
    pins,
    settled_world,
    status,
    wish,
)  # fmt: skip
from tests.routing_operator.worlds import MIGRATION, TENANT, settle
from tests.support.fake_cluster import World

AGAIN = "again"


@pytest.fixture
def world() -> World:
    return settled_world()


def declare(world: World, name: str, phase: str, created: str, **fields: Any) -> None:
    """A migration of the same way under another name, made at a time of its own."""
    spec = {**MIGRATION, "phase": phase, "backfilled": True, **fields}
    world.declare("VectorSpaceMigration", name, spec)
    one = world.cluster.objects["VectorSpaceMigration", name]
    one["metadata"]["creationTimestamp"] = created
    settle(world)


def moved_again(world: World) -> None:
    """One migration is rolled back and left; a second one of the same way has moved acme."""
    measured(world)
    cut_over(world, "acme")
    wish(world, "RolledBack", backfilled=True, cutover={"tenants": ["acme"]})
    assert pins(world) == {}
    declare(world, AGAIN, "Shadow", "2026-02-01T00:00:00Z")
    (job,) = jobs(world)
    world.finish(job, 0.9)
    settle(world)
    declare(world, AGAIN, "Cutover", "2026-02-01T00:00:00Z", cutover={"tenants": ["acme"]})
    assert pins(world) == {"acme": {"qwen": "small"}}


def look_once(world: World) -> None:
    world.write(plan(world.look()).writes)
    world.take()


def test_a_rollback_that_is_over_takes_nobody_back_from_its_successor(world: World) -> None:
    """Whatever routers say at the moment: silence, a fresh one that has verified nothing, a mix."""
    moved_again(world)
    assert status(world)["pinnedTenants"] == []
    assert status(world, AGAIN)["pinnedTenants"] == ["acme"]
    routers, world.routers = world.routers, []
    look_once(world)
    assert pins(world) == {"acme": {"qwen": "small"}}
    world.routers = routers
    for word in ("unverified", "quarantined"):
        world.standings = {"model.small": word}
        look_once(world)
        assert pins(world) == {"acme": {"qwen": "small"}}, word


def test_a_successor_that_measures_anew_loses_nobody(world: World) -> None:
    """Its phase falls back, it pins nobody now, and who has moved stays."""
    moved_again(world)
    again = {**MIGRATION["measurement"], "run": 2}
    declare(
        world, AGAIN, "Cutover", "2026-02-01T00:00:00Z",
        cutover={"tenants": ["acme"]}, measurement=again,
    )  # fmt: skip
    assert status(world, AGAIN)["phase"] == "Shadow"
    assert pins(world) == {"acme": {"qwen": "small"}}


def test_the_rollback_of_one_that_was_refused_takes_nobody_back(world: World) -> None:
    """A second migration of the same way is in conflict; to roll it back is to clean up."""
    measured(world)
    cut_over(world, "acme")
    declare(world, AGAIN, "Prepare", "2026-02-01T00:00:00Z")
    assert world.condition("VectorSpaceMigration", AGAIN, "Accepted")[1] == "Conflict"
    assert status(world, AGAIN)["pinnedTenants"] == []
    declare(world, AGAIN, "RolledBack", "2026-02-01T00:00:00Z")
    assert pins(world) == {"acme": {"qwen": "small"}}
    assert status(world, AGAIN)["phase"] == "RolledBack"


def test_pins_of_a_deleted_migration_are_taken_back_by_another_one_of_the_way(
    world: World,
) -> None:
    """One that is rolled back from its beginning; one whose rollback was over takes nobody."""
    moved_again(world)
    world.cluster.remove("VectorSpaceMigration", AGAIN)
    settle(world)
    assert pins(world) == {"acme": {"qwen": "small"}}
    declare(world, "third", "RolledBack", "2026-03-01T00:00:00Z")
    assert pins(world) == {}


def test_pins_of_an_earlier_release_become_their_migrations(world: World) -> None:
    """Its file does not note who has put them: the migration that lists the tenant has."""
    measured(world)
    cut_over(world, "acme")
    del world.cluster.objects["ConfigMap", "rel-router-config"]["data"]["pins.json"]
    settle(world)
    noted = world.cluster.objects["ConfigMap", "rel-router-config"]["data"]["pins.json"]
    assert json.loads(noted) == {"acme": {"qwen": {"route": "small", "migration": NAME}}}
    assert status(world)["pinnedTenants"] == ["acme"]


@pytest.mark.parametrize("note", ["", "[1", "[]", '{"acme": 3}', '{"acme": {"qwen": "small"}}'])
def test_a_spoiled_note_takes_nobody_back(world: World, note: str) -> None:
    """The file itself is what routers serve."""
    measured(world)
    cut_over(world, "acme")
    world.cluster.objects["ConfigMap", "rel-router-config"]["data"]["pins.json"] = note
    settle(world)
    assert pins(world) == {"acme": {"qwen": "small"}}


def test_a_rollback_that_could_not_be_written_is_not_over(world: World) -> None:
    """The API server refuses the file for a while: the status waits, and then tenants go back."""
    measured(world)
    cut_over(world, "acme")

    def fault(verb: str, kind: str, name: str) -> None:
        if (verb, kind) == ("apply", "ConfigMap"):
            raise ClusterError("the quota of the namespace is used up", 403)

    world.cluster.fault = fault
    world.declare(
        "VectorSpaceMigration", NAME, {**MIGRATION, "phase": "RolledBack", "backfilled": True}
    )
    for _ in range(3):
        writes, refusals = plan(world.look()).writes, Refusals(world.clock)
        asyncio.run(carry_out(writes, world.cluster, lambda: True, refusals))
        world.take()
    assert pins(world) == {"acme": {"qwen": "small"}}
    assert status(world)["phase"] == "Cutover"
    assert world.condition("VectorSpaceMigration", NAME, "Ready")[:2] == ("False", "Waiting")
    world.cluster.fault = lambda verb, kind, name: None
    settle(world)
    assert pins(world) == {}
    assert status(world)["phase"] == "RolledBack"


def pinned_without_a_migration(world: World) -> None:
    """Acme has moved, and the migration was deleted."""
    measured(world)
    cut_over(world, "acme")
    world.cluster.remove("VectorSpaceMigration", NAME)
    settle(world)


def test_a_tenant_that_is_made_anew_is_still_pinned(world: World) -> None:
    """Its index is of the new space; no configuration on the way answers it from the old one."""
    pinned_without_a_migration(world)
    world.cluster.remove("EmbeddingTenant", "acme")
    settle(world)
    assert "acme" not in world.configuration()["tenants"]
    world.declare("EmbeddingTenant", "acme", TENANT)
    look_once(world)
    assert pins(world) == {"acme": {"qwen": "small"}}


def test_the_rollback_of_a_migration_is_one_of_tenants_that_are_gone(world: World) -> None:
    """Who comes back after it asks for the old space."""
    measured(world)
    cut_over(world, "acme")
    world.cluster.remove("EmbeddingTenant", "acme")
    settle(world)
    assert status(world)["pinnedTenants"] == []
    wish(world, "RolledBack", backfilled=True)
    assert status(world)["phase"] == "RolledBack"
    world.declare("EmbeddingTenant", "acme", TENANT)
    settle(world)
    assert pins(world) == {}


def test_a_tenant_says_where_it_is_pinned_to(world: World) -> None:
    """By which migration as well; nothing once it is back."""
    measured(world)
    cut_over(world, "acme")
    told = world.cluster.objects["EmbeddingTenant", "acme"]["status"]["pins"]
    assert told == [{"model": "qwen", "route": "small", "migration": NAME}]
    assert "pins" not in world.cluster.objects["EmbeddingTenant", "beta"]["status"]
    wish(world, "RolledBack", backfilled=True)
    assert "pins" not in world.cluster.objects["EmbeddingTenant", "acme"]["status"]


def test_a_lost_configuration_is_made_anew_with_its_pins(world: World) -> None:
    """The first one that is written has them, read from what tenants' statuses say."""
    pinned_without_a_migration(world)
    world.cluster.remove("ConfigMap", "rel-router-config")
    look_once(world)
    assert pins(world) == {"acme": {"qwen": "small"}}


def test_without_where_it_is_pinned_to_a_tenant_is_not_served(world: World) -> None:
    """The old route is there and the new one not yet: the tenant waits, and says for what."""
    pinned_without_a_migration(world)
    world.cluster.remove("ConfigMap", "rel-router-config")
    world.standings = {"model.small": "unverified"}
    settle(world)
    assert "qwen" in world.configuration()["routes"]
    assert "acme" not in world.configuration()["tenants"]
    assert "no route 'small'" in world.condition("EmbeddingTenant", "acme", "Ready")[2]
    world.standings = {}
    settle(world)
    assert pins(world) == {"acme": {"qwen": "small"}}


def test_a_tenant_of_the_charts_values_is_remembered_by_its_migration(world: World) -> None:
    """It has no status of its own to be found in when the configuration is lost."""
    base = world.cluster.objects["ConfigMap", "rel-router-base"]["data"]
    base["base.yaml"] += "tenants: {house: {}}\n"
    measured(world)
    cut_over(world, "house")
    world.cluster.remove("ConfigMap", "rel-router-config")
    world.routers = []
    look_once(world)
    world.routers = ["router-0"]
    settle(world)
    assert pins(world) == {"house": {"qwen": "small"}}


def test_nothing_is_rolled_back_once_it_is_retired(world: World) -> None:
    """A cluster without CEL admits the wish; the old space may be gone, so nobody is sent there."""
    measured(world)
    everyone = {"backfilled": True, "cutover": {"everyone": True}}
    for phase in ("Cutover", "Retain"):
        wish(world, phase, **everyone)
    world.clock.wall += 24 * 3600 + 1
    wish(world, "Retire", **everyone)
    before = pins(world)
    assert set(before) == {"acme", "beta", "gamma"}
    wish(world, "RolledBack", **everyone)
    assert pins(world) == before
    assert status(world)["phase"] == "Retire"
    for word in ("Accepted", "Ready"):
        assert world.condition("VectorSpaceMigration", NAME, word)[:2] == ("False", "Retired")
