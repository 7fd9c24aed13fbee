"""Routers that share a real Redis: what one has computed, and what happens when Redis does not."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.cache import redis_store
from router.domain.keys import fingerprint
from tests.support.redis import RedisServer
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import SHY_KEY, fake_settings
from tests.support.wire import Answer, embed

TEXTS = ["the harbour", "a harbour", "no harbour"]
# A router that stands still for a moment must not take Redis for dead.
TIMEOUT_S = 5.0
# Where Redis is dead: above a stall of the machine, far below what the client itself would wait.
SHORT_S = 2.5
CLIENT_S = 60.0


def settings_of(minilm: Path, url: str, **changes: Any) -> dict[str, Any]:
    """Fake targets, whose vectors depend on ids alone, and a tenant that keeps out of it."""
    settings = yaml.safe_load(fake_settings(minilm))
    for space in settings["spaces"].values():
        space["revision"] = "1"
    settings["cache"] = {
        "max_bytes": 0,
        "shared": {"url": url, "timeout_s": TIMEOUT_S} | changes,
    }
    settings["tenants"]["shy"] = {
        "keys": [{"name": "shy", "sha256": fingerprint(SHY_KEY)}],
        "cache": False,
    }
    return settings


def started(stack: ExitStack, settings: dict[str, Any]) -> RouterUnderTest:
    router = stack.enter_context(RouterUnderTest(yaml.safe_dump(settings)))
    eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.upstreams)))
    tier = router.app.fleet.tier
    assert tier is not None
    eventually(lambda: tier.is_open)
    return router


@pytest.fixture
def routers(minilm: Path, redis: RedisServer) -> Iterator[tuple[RouterUnderTest, RouterUnderTest]]:
    """Two of them, alike."""
    with ExitStack() as stack:
        yield (
            started(stack, settings_of(minilm, redis.url)),
            started(stack, settings_of(minilm, redis.url)),
        )


Routers = tuple[RouterUnderTest, RouterUnderTest]


def kept(router: RouterUnderTest) -> None:
    """Return once all that was computed is written."""
    tier = router.app.fleet.tier
    assert tier is not None

    async def is_idle() -> bool:
        # What is being written waits no more; then the writer does, for work.
        return not (tier._waiting or tier._work.is_set()) and bool(tier._work._waiters)

    eventually(lambda: router.run(is_idle()))


def vectors(answer: Answer) -> list[list[float]]:
    assert answer.status == 200, answer.body
    return [row["embedding"] for row in answer.json["data"]]


def cached(answer: Answer) -> int:
    details = answer.json["usage"].get("prompt_tokens_details", {})
    tokens: int = details.get("cached_tokens", 0)
    return tokens


def inputs_asked(router: RouterUnderTest) -> int:
    return sum(batch.count for batch in router.fake("plain-target").calls)


def test_two_routers_share(routers: Routers) -> None:
    """Partial hits ask the target for the rest; usage and header tell what nobody computed."""
    first, second = routers
    computed = embed(first, input=TEXTS[:2])
    assert cached(computed) == 0
    kept(first)
    mixed = embed(second, input=[TEXTS[2], *TEXTS[:2]])
    assert vectors(mixed)[1:] == vectors(computed)
    assert cached(mixed) == computed.json["usage"]["prompt_tokens"]
    assert mixed.headers["x-embedway-target"] == "plain-target"
    assert inputs_asked(second) == 1
    kept(second)
    whole = embed(first, input=TEXTS)
    assert vectors(whole) == [*vectors(computed), vectors(mixed)[0]]
    assert cached(whole) == whole.json["usage"]["prompt_tokens"]
    assert whole.headers["x-embedway-target"] == "cache"
    assert inputs_asked(first) == 2


def test_what_is_kept_serves_every_dimension(routers: Routers) -> None:
    """Kept once at full width, narrowed as a computed vector is."""
    first, second = routers
    full, narrow = (
        embed(first, model="org/wide", input="harbour", dimensions=size) for size in (256, 32)
    )
    kept(first)
    for size, computed in ((256, full), (32, narrow)):
        shared = embed(second, model="org/wide", input="harbour", dimensions=size)
        assert vectors(shared) == vectors(computed)
    assert second.fake("wide-target").calls == []


def test_redis_holds_no_word_of_an_input(redis: RedisServer, routers: Routers) -> None:
    """Names of keys are hashes, values are vectors: one of each for each input."""
    embed(routers[0], input=["Zanzibar quarterly figures"])
    kept(routers[0])
    names = redis.names()
    values = [redis.get(name) for name in names]
    stored = [name for name in names if not name.endswith(b":probe")]
    assert len(stored) == 1
    assert stored[0].startswith(b"embedway:")
    assert not any(b"anzibar" in piece for piece in [*names, *values])


def test_who_opts_out_is_neither_kept_nor_served(redis: RedisServer, routers: Routers) -> None:
    """A tenant by its setting, and anybody by the request."""
    first, second = routers
    shy = {"authorization": f"Bearer {SHY_KEY}"}
    for ask in ({"headers": shy}, {"cache": False}):
        embed(first, input="private", **ask)
        kept(first)
        assert not [name for name in redis.names() if not name.endswith(b":probe")]
    embed(first, input="private")
    kept(first)
    for ask in ({"headers": shy}, {"cache": False}):
        before = inputs_asked(second)
        answer = embed(second, input="private", **ask)
        assert (cached(answer), inputs_asked(second)) == (0, before + 1)


def test_a_redefined_space_reads_nothing_old(
    minilm: Path, redis: RedisServer, routers: Routers
) -> None:
    """A new revision under the old name; one that is not named cannot be shared at all."""
    embed(routers[0], input=TEXTS)
    kept(routers[0])
    settings = settings_of(minilm, redis.url)
    settings["spaces"]["plain-space"]["revision"] = "2"
    with ExitStack() as stack:
        answer = embed(started(stack, settings), input=TEXTS)
        assert cached(answer) == 0
    assert cached(embed(routers[1], input=TEXTS)) > 0


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x" * 1576, id="foreign, of the right length"),
        pytest.param(b"EWV1" + b"\0" * 1572, id="zeroes"),
    ],
)
def test_a_spoiled_value_is_computed_anew(
    redis: RedisServer, routers: Routers, spoiled: bytes
) -> None:
    """And healed: the next one finds it."""
    first, second = routers
    computed = embed(first, input="harbour")
    kept(first)
    (name,) = (name for name in redis.names() if not name.endswith(b":probe"))
    redis.command("SET", name, spoiled)
    for number, tokens in enumerate((0, computed.json["usage"]["prompt_tokens"])):
        answer = embed(second, input="harbour")
        assert vectors(answer) == vectors(computed)
        assert (cached(answer), inputs_asked(second)) == (tokens, 1), number
        kept(second)


@pytest.mark.parametrize("how", ["hang", "kill"])
def test_no_request_fails_or_waits_long_without_redis(
    minilm: Path, redis: RedisServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load, from the moment it is gone until it is back, and then it is used again."""
    monkeypatch.setattr(redis_store, "_SOCKET_TIMEOUT_S", CLIENT_S)
    with ExitStack() as stack:
        settings = settings_of(minilm, redis.url, timeout_s=SHORT_S)
        _go_on_without(redis, (started(stack, settings), started(stack, settings)), how)


def _go_on_without(redis: RedisServer, routers: Routers, how: str) -> None:
    router, tier = routers[0], routers[0].app.fleet.tier
    assert tier is not None

    def ask(number: int) -> float:
        began_s = time.monotonic()
        vectors(embed(router, input=[f"{how} {number}", f"{number} {how}"]))
        return time.monotonic() - began_s

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(40)))
        earlier = tier.counts.failures
        before = [pool.submit(ask, number) for number in range(100, 140)]
        redis.hang() if how == "hang" else redis.kill()
        try:
            after = list(pool.map(ask, range(200, 400)))
            assert not tier.is_open
            failures = tier.counts.failures
            alone = list(pool.map(ask, range(400, 500)))
        finally:
            redis.go_on() if how == "hang" else redis.start()
        waited = [one.result() for one in before]
    # The time on Redis, and what eight threads of a test on a busy machine may take.
    assert max([*waited, *after, *alone]) < SHORT_S + 10.0
    # Shut: nobody asked any more.
    assert tier.counts.failures <= failures + 1
    assert failures - earlier <= 3 + 8
    eventually(lambda: tier.is_open, within_s=60)
    embed(router, input="afterwards")
    kept(router)
    eventually(lambda: cached(embed(routers[1], input="afterwards")) > 0, within_s=60)
    assert [event["reachable"] for event in router.events("shared_cache")] == [True, False, True]


def test_a_router_starts_without_redis(minilm: Path) -> None:
    """And answers; the log says once that it is not there."""
    with RouterUnderTest(yaml.safe_dump(settings_of(minilm, "redis://127.0.0.1:1/0"))) as router:
        eventually(lambda: all(map(router.app.fleet.is_up, router.app.fleet.upstreams)))
        assert len(vectors(embed(router, input=TEXTS))) == 3
        assert router.logged("shared_cache")["reachable"] is False


def test_a_quarantined_targets_vectors_are_served_by_no_router(routers: Routers) -> None:
    """The router that finds it out tells the others."""
    from router.routing.targets import Standing

    first, second = routers
    embed(first, input="harbour")
    kept(first)
    assert cached(embed(second, input="harbour")) > 0
    fleet = first.app.fleet

    async def quarantine() -> None:
        fleet.states["plain-target"].standing = Standing.QUARANTINED
        fleet._report_standing("plain-target", Standing.QUARANTINED, "test")

    first.run(quarantine())
    eventually(lambda: cached(embed(second, input="harbour")) == 0)


def test_a_changed_configuration_keeps_the_tier(
    minilm: Path, redis: RedisServer, routers: Routers
) -> None:
    """New targets are believed, removed ones are not; another address is another tier."""
    from router.config.file import Loaded
    from router.config.load import parse_settings

    first, second = routers
    embed(first, input="before")
    kept(first)
    tier = second.app.fleet.tier

    def reload(settings: dict[str, Any]) -> None:
        settings["store"] = {"url": second.app.settings.store.url, "state": "unused"}
        settings["store"]["state"] = str(second.app.settings.store.state)
        data = yaml.safe_dump(settings)
        second.run(
            second.app.reload(Loaded(parse_settings(data, "test"), data.encode(), "sha256:x"))
        )

    settings = settings_of(minilm, redis.url)
    settings["routes"]["again"] = {"targets": ["plain-target"]}
    reload(settings)
    assert second.app.fleet.tier is tier
    assert cached(embed(second, model="again", input="before")) > 0
    settings["targets"]["renamed"] = settings["targets"].pop("plain-target")
    for route in ("plain", "again"):
        settings["routes"][route]["targets"] = ["renamed"]
    reload(settings)
    assert second.app.fleet.tier is tier
    assert cached(embed(second, input="before")) == 0
    settings["cache"]["shared"]["namespace"] = "another"
    reload(settings)
    assert second.app.fleet.tier is not tier
    eventually(lambda: second.app.fleet.tier.is_open)
    embed(second, input="afterwards")
    kept(second)
    assert any(name.startswith(b"another:") for name in redis.names())
