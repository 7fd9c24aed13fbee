"""Small worlds for the planner's tests."""

from typing import Any

from embedway_operator.plan import Plan, plan
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
