"""What the tier asks of a store: the fake and a real Redis give the same answers."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from router.cache.fake import FakeStore
from router.cache.redis_store import RedisStore
from router.domain.errors import CacheUnavailableError, ConfigurationError
from router.domain.ports import SharedStore
from tests.support.redis import RedisServer


@pytest.fixture(params=["fake", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SharedStore]:
    """An empty store."""
    if request.param == "fake":
        yield FakeStore()
        return
    server: RedisServer = request.getfixturevalue("redis")
    made = RedisStore(server.url)
    yield made
    await made.close()


async def test_what_is_written_is_read(store: SharedStore) -> None:
    """Bytes of any kind, in the order of the keys, None where nothing is kept."""
    value = bytes(range(256)) * 64
    await store.write({b"a": value, b"b": b""}, {b"c": b"\r\n$-1"}, 60)
    assert await store.read([b"c", b"x", b"a", b"b"]) == [b"\r\n$-1", None, value, b""]


async def test_the_first_value_stays_unless_it_is_replaced(store: SharedStore) -> None:
    """Answers are those of the first time, bit for bit."""
    await store.write({b"a": b"first"}, {}, 60)
    await store.write({b"a": b"second"}, {}, 60)
    assert await store.read([b"a"]) == [b"first"]
    await store.write({}, {b"a": b"third"}, 60)
    assert await store.read([b"a"]) == [b"third"]


async def test_values_grow_at_their_end(store: SharedStore) -> None:
    """The length is told."""
    assert await store.append(b"log", b"abc", 60) == 3
    assert await store.append(b"log", b"de", 60) == 5
    assert await store.read([b"log"]) == [b"abcde"]


async def test_a_redis_forgets_after_the_time_that_was_asked_for(redis: RedisServer) -> None:
    """Of everything that is written."""
    store = RedisStore(redis.url)
    await store.write({b"new": b"1"}, {b"instead": b"2"}, 0.05)
    await store.append(b"log", b"3", 0.05)
    await asyncio.sleep(0.1)
    assert await store.read([b"new", b"instead", b"log"]) == [None] * 3
    await store.close()


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda store: store.read([b"k"]), id="read"),
        pytest.param(lambda store: store.write({b"k": b"v"}, {}, 1), id="write"),
        pytest.param(lambda store: store.append(b"k", b"v", 1), id="append"),
    ],
)
async def test_a_redis_that_is_not_there_has_an_error_of_its_own(ask: Callable) -> None:
    """Without an address in it."""
    store = RedisStore("redis://user:hidden-password@127.0.0.1:1/0")
    with pytest.raises(CacheUnavailableError) as caught:
        await ask(store)
    assert "hidden" not in str(caught.value)
    assert "127" not in str(caught.value)
    await store.close()


async def test_a_value_of_another_kind_is_nothing(redis: RedisServer) -> None:
    """MGET says nil to a list; APPEND's refusal is the error of the tree."""
    redis.command("LPUSH", "k", "v")
    store = RedisStore(redis.url)
    assert await store.read([b"k"]) == [None]
    with pytest.raises(CacheUnavailableError):
        await store.append(b"k", b"v", 1)
    await store.close()


async def test_a_call_that_is_given_up_leaves_nothing_behind(redis: RedisServer) -> None:
    """The answer that nobody waited for is not taken for the next one's."""
    store = RedisStore(redis.url)
    await store.write({b"a": b"A" * 100_000, b"b": b"B"}, {}, 60)
    for number in range(200):
        call = asyncio.create_task(store.read([b"a"]))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        call.cancel()
        assert await store.read([b"b"]) == [b"B"]
        await asyncio.gather(call, return_exceptions=True)
    await store.close()


def test_another_address_is_no_configuration() -> None:
    """And its words, which may hold a password, are not repeated."""
    with pytest.raises(ConfigurationError, match=r"cache\.shared\.url") as caught:
        RedisStore("redis://host:port-hidden/")
    assert "hidden" not in str(caught.value)
