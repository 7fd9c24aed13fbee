"""What holds of the planner for any set of resources, and any interruption."""

import copy
import random
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedway_operator.observed import Observed, Resource
from embedway_operator.plan import plan
from router.config.load import parse_settings
from tests.routing_operator.worlds import MIGRATION, MODEL, PROVIDER, SPACE, settle, target
from tests.support.fake_cluster import World

FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
KINDS = ("space", "model", "provider", "route", "tenant", "secret", "migration")
SPACES, MODELS, PROVIDERS = ("qwen", "minilm"), ("a", "b"), ("p", "q")
QUANTITIES = {"resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "4096Mi"}}}
spaces = st.sampled_from(SPACES)
targets = st.lists(
    st.sampled_from(
        [target("EmbeddingModel", one) for one in MODELS]
        + [target("EmbeddingProvider", one) for one in PROVIDERS]
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: (one["kind"], one["name"]),
)


@st.composite
def changes(  # noqa: PLR0911 - one a kind
    draw: st.DrawFn, kinds: tuple[str, ...] = KINDS
) -> tuple[str, str, dict[str, Any] | None]:
    """Something that a person does: a resource declared, well or badly, or deleted."""
    kind = draw(st.sampled_from(kinds))
    is_gone = draw(st.integers(0, 5)) == 0
    if kind == "space":
        spec = {**SPACE, "dimensions": draw(st.sampled_from([2560, 1024, 0]))}
        return "VectorSpace", draw(spaces), None if is_gone else spec
    if kind == "model":
        spec = {**MODEL, "space": draw(spaces), "replicas": draw(st.integers(0, 3))}
        spec |= draw(st.sampled_from([{}, {"weight": 0}, {"cache": {"size": "1Gi"}}, QUANTITIES]))
        return "EmbeddingModel", draw(st.sampled_from(MODELS)), None if is_gone else spec
    if kind == "provider":
        spec = {**PROVIDER, "space": draw(spaces)}
        spec |= draw(st.sampled_from([{}, {"profile": "nobody"}, {"url": "gopher://x"}]))
        return "EmbeddingProvider", draw(st.sampled_from(PROVIDERS)), None if is_gone else spec
    if kind == "route":
        spec = {"space": draw(spaces), "targets": draw(targets)}
        spec |= draw(st.sampled_from([{}, {"modelName": "shared"}, {"hedgeQuantile": 2}]))
        return "EmbeddingRoute", draw(st.sampled_from(["r", "s"])), None if is_gone else spec
    if kind == "migration":
        spec = {
            **MIGRATION, "fromRoute": "r", "toRoute": "s", "backfilled": True,
            "phase": draw(st.sampled_from(["Shadow", "Cutover", "Retain", "RolledBack"])),
            "cutover": {"tenants": draw(st.sampled_from([[], ["t"], ["t", "u"]]))},
        }  # fmt: skip
        return "VectorSpaceMigration", "m", None if is_gone else spec
    if kind == "tenant":
        secret = {"name": draw(st.sampled_from(["acme", "missing"])), "key": "key"}
        spec = {"keys": [{"name": "k", "secret": secret}]}
        return "EmbeddingTenant", draw(st.sampled_from(["t", "u"])), None if is_gone else spec
    return "Secret", "provider", None if is_gone else {"key": "sk-value"}


histories = st.lists(changes(), min_size=1, max_size=8)


def a_world() -> World:
    world = World()
    world.secret("provider", key="sk-value")
    world.secret("acme", key="ew-of-a-tenant-0123456789")
    for name in SPACES:
        world.declare("VectorSpace", name, SPACE)
    for name in MODELS:
        world.declare("EmbeddingModel", name, MODEL)
    world.declare(
        "EmbeddingRoute", "r", {"space": "qwen", "targets": [target("EmbeddingModel", "a")]}
    )
    # A second space with a route: migrations may begin at once, and their Jobs find the same.
    world.declare("EmbeddingModel", "z", {**MODEL, "space": "minilm"})
    world.declare(
        "EmbeddingRoute", "s", {"space": "minilm", "targets": [target("EmbeddingModel", "z")]}
    )
    world.overlap = 0.9
    return world


def do(world: World, change: tuple[str, str, dict[str, Any] | None]) -> None:
    kind, name, spec = change
    if spec is None:
        if (kind, name) in world.cluster.objects:
            world.cluster.remove(kind, name)
    elif kind == "Secret":
        world.secret(name, **spec)
    else:
        world.declare(kind, name, spec)


def shape(world: World) -> dict[Any, Any]:
    """The cluster without what depends on how often and when it was written."""
    found = {}
    for place, one in world.cluster.objects.items():
        if place[0] == "Event":
            continue
        body = copy.deepcopy(one)
        for name in ("resourceVersion", "uid", "annotations", "generation"):
            body["metadata"].pop(name, None)
        for owner in body["metadata"].get("ownerReferences") or []:
            owner.pop("uid")
        if place[1] == "rel-router-config":
            body["data"] = {**yaml.safe_load(body["data"]["embedway.yaml"]), "generation": 0}
        status = body.get("status") or {}
        for name in ("configurationGeneration", "since"):
            status.pop(name, None)
        for condition in status.get("conditions") or []:
            condition["message"] = condition["message"].partition("since generation")[0]
            del condition["lastTransitionTime"]
        found[place] = body
    return found


@FEW
@given(histories)
def test_a_settled_cluster_stays_as_it_is(history: list[Any]) -> None:
    """Whatever happened, work comes to an end, and another look writes nothing."""
    world = a_world()
    for change in history:
        do(world, change)
        settle(world)
    assert plan(world.look()).writes == ()


@FEW
@given(histories, st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_listed_changes_nothing(
    history: list[Any], chance: random.Random
) -> None:
    """The same cluster, listed in any order, gives the same writes."""
    world = a_world()
    for change in history:
        do(world, change)
    seen = world.look()

    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(chance.sample(items, len(items)))

    other = Observed(
        installation=seen.installation, now=seen.now, base=seen.base,
        resources=tuple(Resource(copy.deepcopy(one.raw)) for one in shuffled(seen.resources)),
        pod_template=seen.pod_template, config=seen.config, router_secrets=seen.router_secrets,
        secrets=dict(shuffled(tuple(seen.secrets.items()))), children=shuffled(seen.children),
        overlap_template=seen.overlap_template, jobs=shuffled(seen.jobs),
        job_pods=shuffled(seen.job_pods), routers=seen.routers, absent_kinds=seen.absent_kinds,
    )  # fmt: skip
    assert plan(other) == plan(seen)


@FEW
@given(histories, st.data())
def test_an_end_between_any_two_writes_is_only_a_pause(
    history: list[Any], data: st.DataObject
) -> None:
    """Killed after any number of writes, the next operator ends where the first would have."""
    whole, cut = a_world(), a_world()
    for change in history:
        do(whole, change)
        settle(whole)
        do(cut, change)
        writes = plan(cut.look()).writes
        cut.write(writes[: data.draw(st.integers(0, len(writes)))])
        settle(cut)
    assert shape(cut) == shape(whole)


@FEW
@given(histories)
def test_no_name_ever_passes_from_one_space_to_another(history: list[Any]) -> None:
    """From one configuration to the next no route, target or space changes what its vectors are.

    The only way is a configuration without it in between. Each is valid, and numbers only grow.
    """
    world = a_world()
    before: dict[str, Any] = {}
    for change in history:
        do(world, change)
        for _ in range(12):
            made = plan(world.look())
            for write in made.writes:
                world.write((write,))
                after = world.configuration()
                hold_together(before, after)
                before = after
            world.take()
            if made.is_settled:
                break


def hold_together(before: dict[str, Any], after: dict[str, Any]) -> None:
    if before == after:
        return
    parse_settings(yaml.safe_dump(after), "test")
    assert after["generation"] > before.get("generation", 0)
    for name in before.get("routes", {}).keys() & after["routes"].keys():
        assert space_of(before, name) == space_of(after, name)
    for name in before.get("targets", {}).keys() & after["targets"].keys():
        assert before["targets"][name]["space"] == after["targets"][name]["space"]
        space = after["targets"][name]["space"]
        old, new = before["spaces"][space], after["spaces"][space]
        assert {**old, "verification": None} == {**new, "verification": None}


def space_of(content: dict[str, Any], route: str) -> str:
    (space,) = {content["targets"][name]["space"] for name in content["routes"][route]["targets"]}
    return str(space)


@FEW
@given(st.lists(changes(("migration", "route", "space", "model", "tenant")), max_size=10))
def test_nobody_is_thrown_back(history: list[Any]) -> None:
    """Who has moved goes back only where the migration says so, whatever is changed or gone."""
    world = a_world()
    for name in ("t", "u"):
        world.declare("EmbeddingTenant", name, {"keys": []})
    moved = {**MIGRATION, "fromRoute": "r", "toRoute": "s", "backfilled": True}
    moved |= {"phase": "Cutover", "cutover": {"tenants": ["t", "u"]}}
    do(world, ("VectorSpaceMigration", "m", moved))
    settle(world)
    assert pinned(world) == {"t", "u"}
    moved = pinned(world)
    for change in history:
        do(world, change)
        settle(world)
        assert world.configuration()["routes"].keys() >= ({"s"} if pinned(world) else set())
        migration = world.cluster.objects.get(("VectorSpaceMigration", "m"))
        back = {name for name in moved if is_sent_back(migration, name)}
        # Who is gone, or is not served because where they have moved to is gone, has moved still.
        out = moved - back - world.configuration()["tenants"].keys()
        assert moved - back - out <= pinned(world), change
        moved = pinned(world) | out


def is_sent_back(migration: dict[str, Any] | None, name: str) -> bool:
    if migration is None:
        return False
    spec = migration["spec"]
    return spec["phase"] == "RolledBack" or name not in spec["cutover"]["tenants"]


def pinned(world: World) -> set[str]:
    tenants = world.configuration()["tenants"]
    return {name for name, one in tenants.items() if one.get("pins", {}).get("r") == "s"}
