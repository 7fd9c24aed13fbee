"""A key that is rotated counts as served once routers have read it, and not before."""

import base64
from typing import Any

import pytest

from embedway_operator.draft_targets import secret_references
from embedway_operator.observed import Resource
from embedway_operator.plan import plan
from embedway_operator.secret_files import MOST_BYTES, file_of, refreshed
from tests.routing_operator.worlds import MODEL, PROVIDER, TENANT, a_world, settle
from tests.support.fake_cluster import World, named_files

OLD, NEW = "sk-of-a-provider", "sk-of-a-provider-rotated"
SECRET = "Secret", "rel-router-secrets"


@pytest.fixture
def world() -> World:
    made = a_world()
    settle(made)
    return made


def passes(world: World, count: int = 4) -> None:
    for _ in range(count):
        world.write(plan(world.look()).writes)
        world.take()


def values(world: World) -> set[str]:
    """Values that routers are given."""
    data = world.cluster.objects[SECRET]["data"]
    return {base64.b64decode(value).decode() for value in data.values()}


def named(world: World) -> set[str]:
    """Values that the routers' configuration names."""
    data = world.cluster.objects[SECRET]["data"]
    names = [path.rpartition("/")[2] for path in named_files(world.configuration())]
    return {base64.b64decode(data[name]).decode() for name in names}


def test_a_rotated_key_is_programmed_once_it_is_mounted(world: World) -> None:
    """The configuration arrives first, as it does with kubelets: until the value is there, no."""
    world.mount_lags = True
    generation = world.served[1]
    world.secret("provider", key=NEW)
    passes(world, 8)
    assert named(world) >= {NEW}
    assert values(world) >= {OLD, NEW}
    status, reason, message = world.condition("EmbeddingProvider", "remote", "Programmed")
    assert (status, reason) == ("False", "Pending")
    assert "provider.key." in message
    assert "router-0" in message
    # Nothing else has changed, and nothing else is said of it.
    assert world.condition("EmbeddingTenant", "acme", "Programmed")[0] == "True"
    assert world.served[1] == generation
    world.mount_lags = False
    settle(world)
    assert world.condition("EmbeddingProvider", "remote", "Programmed")[0] == "True"
    assert world.served[1] == generation + 1
    assert OLD not in values(world)


def test_a_tenants_key_is_rotated_in_the_same_way(world: World) -> None:
    """Who has the old one is let in until every router knows the new one."""
    world.mount_lags = True
    world.secret("acme", key="ew-of-a-tenant-rotated-0123")
    passes(world)
    assert world.condition("EmbeddingTenant", "acme", "Programmed")[:2] == ("False", "Pending")
    world.mount_lags = False
    settle(world)
    assert world.condition("EmbeddingTenant", "acme", "Programmed")[0] == "True"
    assert values(world) == {OLD, "ew-of-a-tenant-rotated-0123"}


def test_a_router_that_refuses_for_another_reason_is_quoted_still(world: World) -> None:
    """A file of another folder, or a value that is wrong, is no matter of waiting."""
    world.secret("provider", key=NEW)
    for sentence in (
        "targets.remote.api_key: file /run/other cannot be read",
        "key k: file /etc/embedway/secrets/a.k.0123456789abcdef must hold at least 16 characters",
    ):
        world.pending_error = sentence
        passes(world)
        reason = world.condition("EmbeddingProvider", "remote", "Programmed")[1]
        assert reason == "RouterRefused"


def test_old_values_stay_for_as_long_as_one_router_is_behind(world: World) -> None:
    """Through any number of rotations; then only the last one is left."""
    world.mount_lags = True
    for number in range(3):
        world.secret("provider", key=f"sk-of-a-provider-{number}")
        passes(world)
    assert len([one for one in values(world) if one.startswith("sk-")]) == 4
    world.mount_lags = False
    settle(world)
    assert [one for one in values(world) if one.startswith("sk-")] == ["sk-of-a-provider-2"]


def test_a_key_that_is_turned_back_is_there_already(world: World) -> None:
    """The same value has the same name, whenever it comes."""
    before = world.configuration()
    world.secret("provider", key=NEW)
    settle(world)
    world.secret("provider", key=OLD)
    settle(world)
    assert {**world.configuration(), "generation": 0} == {**before, "generation": 0}


def test_values_never_outgrow_the_secret(world: World) -> None:
    """A Secret holds 1 MiB: rather than be refused, it goes without the oldest values."""
    world.mount_lags = True
    sizes = []
    for number in range(8):
        world.secret("provider", key=f"{number}" * 200_000)
        passes(world, 2)
        sizes.append(sum(len(value) for value in values(world)))
        assert f"{number}" * 200_000 in named(world)
        if number:
            assert f"{number - 1}" * 200_000 in values(world)
    assert max(sizes) <= MOST_BYTES
    assert max(sizes) > 800_000


@pytest.mark.parametrize(
    ("kind", "name", "spec"),
    [
        ("EmbeddingProvider", "remote", {**PROVIDER, "profile": "nobody"}),
        ("EmbeddingTenant", "acme", {**TENANT, "quotas": [{"unit": "tokens", "limit": 1.5}]}),
    ],
)
def test_a_mistake_elsewhere_keeps_no_key_in_force(
    world: World, kind: str, name: str, spec: dict[str, Any]
) -> None:
    """What is refused goes on as it was, but with the Secret's present value."""
    [reference] = secret_references(Resource(world.cluster.objects[kind, name]))
    world.declare(kind, name, spec)
    settle(world)
    assert world.condition(kind, name, "Accepted")[0] == "False"
    world.secret(reference["name"], key="ew-the-next-value-of-a-key")
    settle(world)
    assert "ew-the-next-value-of-a-key" in named(world)
    assert world.condition(kind, name, "Accepted")[0] == "False"
    assert len(values(world)) == 2


def test_a_value_that_is_no_key_does_not_replace_the_one_in_force(world: World) -> None:
    """A router would refuse the whole file for it."""
    spec = {**TENANT, "quotas": [{"unit": "tokens", "limit": 1.5}]}
    world.declare("EmbeddingTenant", "acme", spec)
    settle(world)
    before = world.configuration()
    world.secret("acme", key="short")
    settle(world)
    assert world.configuration() == before
    assert "ew-of-a-tenant-0123456789" in named(world)


def test_files_of_an_earlier_release_are_taken_over(world: World) -> None:
    """Their names had no hash: they stay until every router serves the new names."""
    config = world.cluster.objects["ConfigMap", "rel-router-config"]
    secret = world.cluster.objects[SECRET]
    for name in list(secret["data"]):
        old = name.rpartition(".")[0]
        secret["data"][old] = secret["data"].pop(name)
        text = config["data"]["embedway.yaml"]
        config["data"]["embedway.yaml"] = text.replace(name, old)
    world.take()
    world.mount_lags = True
    passes(world)
    assert {"acme.key", "provider.key"} < secret_names(world)
    world.mount_lags = False
    settle(world)
    assert len(secret_names(world)) == 2
    assert not {"acme.key", "provider.key"} & secret_names(world)
    assert world.condition("EmbeddingProvider", "remote", "Programmed")[0] == "True"


def secret_names(world: World) -> set[str]:
    return set(world.cluster.objects[SECRET]["data"])


def test_only_files_of_the_routers_secret_are_brought_up_to_date() -> None:
    """A part that is kept gets the new wish's file of the same Secret, and of no other."""
    before = {"api_key": {"file": "/etc/embedway/secrets/a.b.0123456789abcdef"}}
    wished = {"api_key": {"file": "/etc/embedway/secrets/a.b.fedcba9876543210"}}
    other = {"api_key": {"file": "/etc/embedway/secrets/a.c.fedcba9876543210"}}
    elsewhere = {"api_key": {"file": "/run/secrets/a.b.0123456789abcdef"}}
    assert refreshed(before, wished) == wished
    assert refreshed(before, {}) == refreshed(before, other) == before
    assert refreshed(elsewhere, wished) == elsewhere


def test_names_of_files_are_names_of_a_secret() -> None:
    """253 characters at most, whatever Secrets and their keys are called, and never shared."""
    long = {"name": "n" * 253, "key": "k" * 253}
    assert len(file_of(long, b"v")) <= 253
    assert file_of(long, b"v") != file_of({**long, "key": "k" * 252}, b"v")
    # These two were one file once.
    first, second = {"name": "a.b", "key": "c"}, {"name": "a", "key": "b.c"}
    assert file_of(first, b"v") != file_of(second, b"v")
    assert file_of({"name": "a"}, b"v") == file_of({"name": "a", "key": "key"}, b"v")


def test_a_change_beside_a_rotation_waits_with_it(world: World) -> None:
    """One file holds both: it is served when all that it names is there."""
    world.mount_lags = True
    world.secret("provider", key=NEW)
    world.declare("EmbeddingModel", "local", {**MODEL, "maxInputsPerCall": 64})
    passes(world)
    assert world.condition("EmbeddingModel", "local", "Programmed")[:2] == ("False", "Pending")
    world.mount_lags = False
    settle(world)
    assert world.condition("EmbeddingModel", "local", "Programmed")[0] == "True"
