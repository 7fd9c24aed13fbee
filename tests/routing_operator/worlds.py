"""Small worlds for the planner's tests."""

from io import StringIO
from typing import Any, TextIO

from embedway_operator.log import Log
from embedway_operator.observer import Observer
from embedway_operator.plan import Plan, plan
from embedway_operator.reconciler import Alarm, Reconciler
from embedway_operator.refusals import Refusals
from tests.support.fake_cluster import World

SPACE = {
    "model": "Qwen/Qwen3-Embedding-4B",
    "dimensions": 2560,
    "maxTokens": 8192,
    "lowercase": False,
}
MODEL = {"space": "qwen", "model": "qwen3_embedding_4b", "engine": "pytorch", "gpus": 1}
PROVIDER = {
    "space": "qwen",
    "upstream": "openai",
    "url": "https://example.com/v1",
    "model": "Qwen/Qwen3-Embedding-4B",
    "apiKeySecret": {"name": "provider", "key": "key"},
}


def target(kind: str, name: str) -> dict[str, str]:
    return {"kind": kind, "name": name}


LOCAL, REMOTE = target("EmbeddingModel", "local"), target("EmbeddingProvider", "remote")
ROUTE: dict[str, Any] = {"space": "qwen", "targets": [LOCAL, REMOTE], "strategy": "priority"}
MIGRATION: dict[str, Any] = {
    "fromRoute": "qwen",
    "toRoute": "small",
    "measurement": {
        "sample": {"configMap": "sample"},
        "keySecret": {"name": "measurer"},
        "minOverlap": 0.8,
    },
    "retainHours": 24,
}
TENANT = {"keys": [{"name": "first", "secret": {"name": "acme", "key": "key"}}]}


def a_world(**options: Any) -> World:
    """One space, a model and a provider in it, a route to both, a tenant with a key."""
    world = World(**options)
    world.secret("provider", key="sk-of-a-provider")
    world.secret("acme", key="ew-of-a-tenant-0123456789")
    world.declare("VectorSpace", "qwen", SPACE)
    world.declare("EmbeddingModel", "local", MODEL)
    world.declare("EmbeddingProvider", "remote", PROVIDER)
    world.declare("EmbeddingRoute", "qwen", ROUTE)
    world.declare("EmbeddingTenant", "acme", TENANT)
    return world


def settle(world: World, rounds: int = 12) -> Plan:
    """Plan, write and let routers follow, until nothing is left to do."""
    for _ in range(rounds):
        made = plan(world.look())
        world.write(made.writes)
        world.take()
        if made.is_settled:
            return made
    raise AssertionError(f"not settled: {made.writes}")


class Leader:
    """An election that is won, for so many questions whether it is."""

    def __init__(self, writes: int = 10**6) -> None:
        self.left = writes

    def is_leading(self) -> bool:
        self.left -= 1
        return self.left >= 0


def an_operator(world: World, log: TextIO | None = None) -> Reconciler:
    """The operator as it runs, on this world's clock; `work` is one pass of it."""
    observer = Observer(world.cluster, world, world.installation, world.clock)
    return Reconciler(
        observer, world.cluster, Leader(), Alarm(),  # type: ignore[arg-type]
        Log(world.clock, log or StringIO()), Refusals(world.clock),
    )  # fmt: skip
