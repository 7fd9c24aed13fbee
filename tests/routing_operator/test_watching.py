"""kopf's watches against an API server in memory (kmock): they ring."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import kmock as mock
import kopf
import pytest

from embedway_operator import watching
from embedway_operator.names import Installation
from router.config.resources import GROUP, KINDS, VERSION

PLURALS = [
    *(f"{GROUP}/{VERSION}/{kind.plural}" for kind in KINDS),
    "apps/v1/deployments", "v1/pods", "v1/configmaps", "v1/namespaces",
]  # fmt: skip


@pytest.fixture
async def rings(kmock: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Queue[None]]:
    """Watches that run, and a queue with an entry for each ring."""
    for plural in PLURALS:
        kmock.resources[plural] = {"namespaced": True, "verbs": ["list", "watch"]}
    server = kopf.ConnectionInfo(server=str(kmock.url))
    monkeypatch.setattr(watching, "login", lambda: server)
    heard: asyncio.Queue[None] = asyncio.Queue()
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def ring() -> None:
        loop.call_soon_threadsafe(heard.put_nowait, None)

    task = asyncio.create_task(
        asyncio.to_thread(watching.watch, Installation("ns", "rel"), ring, stop)
    )
    yield heard
    stop.set()
    async with asyncio.timeout(20):
        await task


async def declare(kmock: Any, name: str) -> None:
    """What kubectl does; it ends in the streams of all watches."""
    url = f"{kmock.url}/apis/{GROUP}/{VERSION}/namespaces/ns/vectorspaces".replace(
        "//apis", "/apis"
    )
    body = {"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {}}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert response.status < 300


def requests(kmock: Any) -> list[Any]:
    return [*kmock[mock.method.GET]]


def watches(kmock: Any) -> list[Any]:
    return [
        one
        for one in requests(kmock)
        if one.params.get("watch") == "true" and one.url.path.endswith("vectorspaces")
    ]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)


async def test_a_change_rings(kmock: Any, rings: asyncio.Queue[None]) -> None:
    """A new resource wakes the reconciler, and kopf writes nothing anywhere."""
    await until(lambda: watches(kmock))
    await declare(kmock, "qwen")
    async with asyncio.timeout(20):
        await rings.get()
    assert not [*kmock[mock.method.PATCH], *kmock[mock.method.PUT]]
    assert len([*kmock[mock.method.POST]]) == 1


async def test_nothing_outside_of_the_namespace_is_looked_at(
    kmock: Any, rings: asyncio.Queue[None]
) -> None:
    """No list of namespaces or resource definitions: the Role is one of a namespace."""
    del rings
    await until(lambda: watches(kmock))
    paths = {one.url.path for one in requests(kmock)}
    objects = {one for one in paths if "/namespaces/" in one or one.count("/") > 4}
    assert all("/namespaces/ns/" in one for one in objects)
    assert not [one for one in paths if one.endswith(("/namespaces", "customresourcedefinitions"))]
