"""Fifty changes of the configuration under load: no request fails, no vector is another space's."""

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import yaml
from sqlalchemy import func, select

from router.domain.keys import fingerprint
from router.store.tables import quota_windows, usage
from router.upstreams.fake import FakeUpstream
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import KEY, fake_settings

CONCURRENCY = 32
RELOADS = 50
NANO_A_TOKEN = (20, 40)
MODELS = {"plain": "plain-space", "org/wide": "wide-space"}


class Load:
    """Closed-loop clients of two routes, each of a space with its own dimension."""

    def __init__(self, router: RouterUnderTest, right: dict[tuple[str, int], Any]) -> None:
        self._router = router
        self._right = right
        self._stop = threading.Event()
        self.failed: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.answers = 0
        self.cost_nano_usd = 0
        self.tokens = 0

    def run(self) -> None:
        asyncio.run(self._all())

    def stop(self) -> None:
        self._stop.set()

    async def _all(self) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            await asyncio.gather(*(self._client(session, n) for n in range(CONCURRENCY)))

    async def _client(self, session: aiohttp.ClientSession, seed: int) -> None:
        number = seed
        while not self._stop.is_set():
            number += 7
            model, text = list(MODELS)[number % 2], number % len(TEXTS)
            body = {"model": model, "input": TEXTS[text]}
            try:
                async with session.post(self._router.url + "/v1/embeddings", json=body) as answer:
                    self._judge(model, text, answer, orjson.loads(await answer.read()))
            except aiohttp.ClientError as error:
                self.failed[type(error).__name__] += 1

    def _judge(
        self, model: str, text: int, answer: aiohttp.ClientResponse, body: dict[str, Any]
    ) -> None:
        self.answers += 1
        if answer.status != 200:
            self.failed[str(body["error"]["message"])] += 1
            return
        vector = np.array(body["data"][0]["embedding"], np.float32)
        right = self._right[model, text]
        if answer.headers["x-embedway-space"] != MODELS[model] or vector.shape != right.shape:
            self.wrong.append(f"{model} in {answer.headers['x-embedway-space']}")
        elif np.abs(vector - right).max() > 1e-6:
            self.wrong.append(f"{model} {text}")
        cost, tokens = round(float(answer.headers["x-embedway-cost-usd"]) * 1e9), body["usage"]
        self.tokens += tokens["total_tokens"]
        self.cost_nano_usd += cost
        if cost not in [0, *(price * tokens["total_tokens"] for price in NANO_A_TOKEN)]:
            self.wrong.append(f"cost {cost}")


TEXTS = [f"text number {number}" for number in range(40)]


def edition(minilm: Path, number: int) -> str:
    """Each file differs: a price, one target more or less, another order, a limit, another key."""
    parsed = yaml.safe_load(fake_settings(minilm))
    parsed["generation"] = number
    # The memory is small, so that it is used and targets are asked as well.
    parsed["cache"] = {"max_bytes": 20_000}
    for target in parsed["targets"].values():
        target["price_usd_per_million_tokens"] = NANO_A_TOKEN[number % 2] / 1000
    routes = parsed["routes"]
    if number % 3:
        extra = f"extra-{number % 3}"
        parsed["targets"][extra] = dict(parsed["targets"]["plain-target"])
        routes["plain"]["targets"].insert(number % 2, extra)
    if number % 5 == 0:
        # The connection is another: it has to be made ready before it is used.
        parsed["targets"]["wide-target"]["max_call_tokens"] = 1000 + number
    if number % 7 == 0:
        routes[f"route-{number}"] = {"targets": ["plain-target"]}
    tenant = parsed["tenants"]["testers"]
    tenant["quotas"] = [{"unit": "usd", "limit": 1 + number % 4, "window": "total"}]
    if number % 2:
        tenant["keys"].append({"name": f"k{number}", "sha256": fingerprint(f"{KEY}-{number}")})
    return str(yaml.safe_dump(parsed))


def bad(number: int, good: str) -> str:
    """Files that cannot be served, each for another reason."""
    kinds = [
        "{",
        good.replace("port: 0", "port: 4", 1),
        good.replace("upstream: fake", "upstream: fax", 1),
        good.replace("all-MiniLM-L6-v2", "another", 1),
    ]
    return kinds[number % len(kinds)]


async def right_vectors(router: RouterUnderTest) -> dict[tuple[str, int], Any]:
    headers = {"authorization": f"Bearer {KEY}"}
    found = {}
    async with aiohttp.ClientSession(headers=headers) as session:
        for model in MODELS:
            body = {"model": model, "input": TEXTS}
            async with session.post(router.url + "/v1/embeddings", json=body) as answer:
                rows = (await answer.json())["data"]
            for text, row in enumerate(rows):
                found[model, text] = np.array(row["embedding"], np.float32)
    return found


def test_no_request_notices_fifty_reloads(minilm: Path, tmp_path: Path) -> None:
    """At concurrency 32: none fails, every vector is right, and the books agree to the nano-USD."""
    with RouterUnderTest(edition(minilm, 0), {}, tmp_path / "embedway.yaml") as router:
        eventually(router.app.is_ready)
        right = asyncio.run(right_vectors(router))
        load = Load(router, right)
        clients = threading.Thread(target=load.run)
        clients.start()
        taken = refused = 0
        for number in range(1, RELOADS + 1):
            if number % 4 == 0:
                refused += router.rewrite(bad(number // 4, edition(minilm, number))) is not None
            else:
                assert router.rewrite(edition(minilm, number)) is None
                taken += 1
        # A slow machine takes some more time for the load, a fast one none.
        eventually(lambda: load.answers > 20 * RELOADS, within_s=60)
        time.sleep(0.2)
        load.stop()
        clients.join()
        assert (taken, refused) == (RELOADS - RELOADS // 4, RELOADS // 4)
        assert not load.failed
        assert not load.wrong
        _books_agree(router, load, right)
        # What was replaced is closed and gone, and nothing waits for it any more.
        eventually(lambda: not router.app._retiring)
        assert not any(
            upstream._closed
            for upstream in router.app.fleet.upstreams.values()
            if isinstance(upstream, FakeUpstream)
        )


def _books_agree(router: RouterUnderTest, load: Load, right: dict[tuple[str, int], Any]) -> None:
    """The ledger holds each answer once, at the price that its client was told."""
    first = 2  # requests that found the right vectors out

    def sums() -> Any:
        with router.app._ground.engine.connect() as connection:
            query = select(func.count(), func.sum(usage.c.tokens), func.sum(usage.c.cost_nano_usd))
            return connection.execute(query).one()

    eventually(lambda: sums()[0] == load.answers + first, within_s=60)
    told = sums()
    with router.app._ground.engine.connect() as connection:
        early = (
            connection.execute(select(usage).where(usage.c.inputs == len(TEXTS))).mappings().all()
        )
        window = connection.execute(select(quota_windows)).mappings().one()
    assert len(early) == first
    assert told[1] == load.tokens + sum(row["tokens"] for row in early)
    assert told[2] == load.cost_nano_usd + sum(row["cost_nano_usd"] for row in early)
    assert window["spent"] == told[2] <= window["leased"]
    assert len(right) == len(MODELS) * len(TEXTS)
