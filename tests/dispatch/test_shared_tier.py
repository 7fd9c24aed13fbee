"""The tier that routers share: what it believes, how long it waits, what it drops."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import numpy as np
import pytest

from router.cache.fake import FakeStore
from router.dispatch.shared_tier import SharedTier, TierSettings
from router.dispatch.sharing import Done, Sharing
from router.domain.clock import SystemClock
from router.domain.types import Float32Array, Space, TokenBatch
from router.vectors.envelope import HEADER_BYTES, origin_of, seal, unseal
from router.vectors.memory import VectorMemory

DIMENSIONS = 8
SPACE = Space("s", "m", DIMENSIONS, 64, revision="1")
# Long enough for a busy machine, short enough to be waited for.
TIMEOUT_S = 0.5
SETTINGS = TierSettings("test", b"", 60.0, TIMEOUT_S, 1_000_000)
KEY = b"k" * 16


def vector(number: int = 1, dimensions: int = DIMENSIONS) -> Float32Array:
    """A unit vector of its own."""
    made = np.random.default_rng(number).standard_normal(dimensions).astype("f4")
    return made / np.linalg.norm(made)


class TierUnderTest:
    """A router's tier over a store that others may share; target t is of SPACE and trusted."""

    def __init__(self, store: FakeStore, settings: TierSettings = SETTINGS) -> None:
        self.events: list[tuple[bool, str | None]] = []
        self.trusted = {"t", "u"}
        self.offset_s = 0.0
        self.clock = SystemClock()
        self.tier = SharedTier(
            store,
            settings,
            self,
            lambda *event: self.events.append(event),
        )

    def serve(self) -> None:
        spaces = {"t": "s", "u": "s", "stranger": "other"}
        self.tier.serve(spaces, lambda name: name in self.trusted)

    def monotonic_s(self) -> float:
        return self.clock.monotonic_s()

    def wall_s(self) -> float:
        return self.clock.wall_s() + self.offset_s

    async def find(self, *keys: bytes, space: Space = SPACE) -> dict[bytes, Float32Array]:
        return {key: row for key, (row, _) in (await self.tier.find(space, keys)).items()}

    async def keep(self, key: bytes, row: Float32Array, target: str = "t") -> None:
        self.tier.keep(SPACE, key, row, target)
        await settled(self.tier)


async def settled(tier: SharedTier) -> None:
    await until(lambda: tier.waiting_bytes == 0)
    # What was taken to be written is on its way through some turns of the loop.
    for _ in range(50):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.fixture
async def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def routers(store: FakeStore) -> AsyncIterator[tuple[TierUnderTest, TierUnderTest]]:
    """Two of them, over one store."""
    both = TierUnderTest(store), TierUnderTest(store)
    for one in both:
        one.serve()
    await until(lambda: all(one.tier.is_open for one in both))
    yield both
    for one in both:
        await one.tier.close()


Routers = tuple[TierUnderTest, TierUnderTest]


async def test_what_one_router_keeps_the_other_finds(routers: Routers) -> None:
    """Bit for bit, and with the target that computed it."""
    await routers[0].keep(KEY, vector())
    found = await routers[1].tier.find(SPACE, [b"x" * 16, KEY])
    assert list(found) == [KEY]
    assert found[KEY][0].tobytes() == vector().tobytes()
    assert found[KEY][1] == "t"
    assert (routers[1].tier.counts.hits, routers[1].tier.counts.misses) == (1, 1)


async def test_a_space_that_is_declared_anew_finds_nothing(routers: Routers) -> None:
    """Whatever of it has changed; its name alone does not make it the same."""
    await routers[0].keep(KEY, vector())
    changes = [
        {"revision": "2"}, {"model": "n"}, {"lowercase": True}, {"prompts": {"query": "q: {text}"}},
        {"default_instruction": "i"}, {"provider_input_types": {"query": "q"}},
        {"tokenizer_id": "other"}, {"name": "s2"}, {"dimensions": 4},
    ]  # fmt: skip
    for change in changes:
        assert await routers[1].find(KEY, space=replace(SPACE, **change)) == {}
    assert list(await routers[1].find(KEY, space=replace(SPACE, max_tokens=9))) == [KEY]


def _flipped(value: bytes, place: int) -> bytes:
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


def _sealed(row: Float32Array, key: bytes = KEY, target: str = "t", secret: bytes = b"") -> bytes:
    return seal(key, row, origin_of(target), int(time.time() * 1000), secret)


@pytest.mark.parametrize(
    "spoil",
    [
        *(
            pytest.param(lambda value, place=place: _flipped(value, place), id=f"bit-{place}")
            for place in (0, 5, 9, 20, 30, HEADER_BYTES, HEADER_BYTES + 4 * DIMENSIONS - 1)
        ),
        pytest.param(lambda value: value[:-1], id="a byte short"),
        pytest.param(lambda value: value[:-4], id="a number short"),
        pytest.param(lambda value: value + b"\0", id="a byte long"),
        pytest.param(lambda value: b"", id="empty"),
        pytest.param(lambda value: b"not of this house" * 9, id="foreign"),
        pytest.param(lambda value: vector().tobytes(), id="bare numbers"),
        pytest.param(lambda value: _sealed(vector(1, 16)), id="wider"),
        pytest.param(lambda value: _sealed(vector(1, 4)), id="narrower"),
        pytest.param(lambda value: _sealed(vector(), key=b"j" * 16), id="of another key"),
        pytest.param(lambda value: _sealed(vector(), secret=b"x" * 64), id="of another secret"),
        pytest.param(lambda value: _sealed(vector() * 2), id="not of unit length"),
        pytest.param(lambda value: _sealed(vector() * np.float32("nan")), id="not a number"),
        pytest.param(lambda value: _sealed(vector(), target="nobody"), id="of an unknown target"),
        pytest.param(lambda value: _sealed(vector(), target="stranger"), id="of another space"),
    ],
)
async def test_what_is_not_whole_and_right_is_not_believed(
    store: FakeStore, routers: Routers, spoil: Callable[[bytes], bytes]
) -> None:
    """It counts as a miss, and the vector that is computed then takes its place."""
    await routers[0].keep(KEY, vector())
    (name,) = (key for key in store.values if not key.endswith((b"probe", b"doubts")))
    store.values[name] = spoil(store.values[name])
    assert await routers[1].find(KEY) == {}
    assert routers[1].tier.counts.refused == 1
    await routers[1].keep(KEY, vector(2))
    assert (await routers[0].find(KEY))[KEY].tobytes() == vector(2).tobytes()


async def test_the_first_vector_stays(routers: Routers) -> None:
    """Who computes the same input at the same time does not change what others get."""
    await routers[0].keep(KEY, vector(1))
    await routers[1].keep(KEY, vector(2))
    assert (await routers[1].find(KEY))[KEY].tobytes() == vector(1).tobytes()


async def test_a_target_is_believed_only_where_it_is_verified(routers: Routers) -> None:
    """Each router has to have measured it for itself."""
    await routers[0].keep(KEY, vector())
    routers[1].trusted.clear()
    assert await routers[1].find(KEY) == {}
    routers[1].trusted.add("t")
    assert list(await routers[1].find(KEY)) == [KEY]


async def test_a_doubt_reaches_every_router(store: FakeStore, routers: Routers) -> None:
    """What the target wrote until then is nobody's; other targets' vectors and later ones are."""
    other, later = b"o" * 16, b"l" * 16
    await routers[0].keep(KEY, vector())
    await routers[0].keep(other, vector(2), target="u")
    routers[0].tier.heard(SPACE, "t", is_wrong=True)
    await until(lambda: any(key.endswith(b"doubts") for key in store.values))
    for router in routers:
        assert list(await router.find(KEY, other)) == [other]
    late = TierUnderTest(store)
    late.serve()
    assert list(await late.find(KEY, other)) == [other]
    for router in routers:
        router.offset_s = 20.0
    await routers[1].keep(later, vector(3))
    await routers[1].keep(KEY, vector(4))
    assert list(await routers[0].find(KEY, other, later)) == [KEY, other, later]


async def test_a_doubt_that_could_not_be_told_is_told_later(store: FakeStore) -> None:
    """A store that is down just then hears of it when it is back."""
    router = TierUnderTest(store)
    store.is_down = True
    router.serve()
    router.tier.heard(SPACE, "t", is_wrong=True)
    await until(lambda: bool(router.events))
    assert router.events[0][0] is False
    store.is_down = False
    await until(lambda: any(key.endswith(b"doubts") for key in store.values))
    await router.tier.close()


async def test_doubts_do_not_grow_without_end(store: FakeStore, routers: Routers) -> None:
    """Beyond some kilobytes all that was written is given up instead."""
    await routers[0].keep(KEY, vector(), target="u")
    for _ in range(300):
        routers[0].tier.heard(SPACE, "t", is_wrong=True)
        await until(lambda: not routers[0].tier._untold)
    (name,) = (key for key in store.values if key.endswith(b"doubts"))
    assert len(store.values[name]) <= 4096
    assert await routers[1].find(KEY) == {}


async def test_what_waits_to_be_written_is_dropped_with_the_doubt(store: FakeStore) -> None:
    """And what was computed before it does not pass for younger."""
    router = TierUnderTest(store)
    router.serve()
    await until(lambda: router.tier.is_open)
    router.tier.keep(SPACE, KEY, vector(), "t")
    router.tier.keep(SPACE, b"o" * 16, vector(), "u")
    router.tier.heard(SPACE, "t", is_wrong=True)
    await settled(router.tier)
    assert list(await router.find(KEY, b"o" * 16)) == [b"o" * 16]
    assert router.tier.counts.dropped == 1
    await router.tier.close()


async def test_a_slow_store_costs_the_configured_time_and_then_nothing(
    store: FakeStore, routers: Routers
) -> None:
    """Three times; then it is shut, until a probe has found it well."""
    store.delay_s = 60.0
    began_s = time.monotonic()
    for _ in range(3):
        assert routers[0].tier.is_open
        assert await routers[0].find(KEY) == {}
    assert time.monotonic() - began_s < 3 * TIMEOUT_S + 15
    assert not routers[0].tier.is_open
    assert routers[0].events[-1] == (False, "it did not answer in time")
    store.delay_s = 0.0
    await until(lambda: routers[0].tier.is_open)
    assert routers[0].events[-1] == (True, None)


async def test_a_store_that_falls_ill_again_is_left_alone_for_longer(
    store: FakeStore, routers: Routers
) -> None:
    """Each time twice as long: requests do not pay for its moods."""
    least_s = 0.5
    for _ in range(3):
        store.is_down = True
        while routers[0].tier.is_open:
            await routers[0].find(KEY)
        store.is_down = False
        began_s = time.monotonic()
        await until(lambda: routers[0].tier.is_open)
        # A busy machine makes a pause longer, and never shorter.
        assert time.monotonic() - began_s >= 0.95 * least_s
        least_s *= 2


async def test_what_has_come_in_time_is_taken(store: FakeStore, routers: Routers) -> None:
    """A look-up is many calls where it is large; the time is for all of them together."""
    keys = [b"%016d" % number for number in range(300)]
    for key in keys:
        routers[0].tier.keep(SPACE, key, vector(), "t")
    await settled(routers[0].tier)
    store.reads.clear()
    assert list(await routers[1].find(*keys)) == keys
    # Each call asks for the doubts too.
    assert store.reads == [129, 129, 45]
    store.reads.clear()
    store.hangs_after = 1
    assert list(await routers[1].find(*keys)) == keys[:128]


async def test_many_vectors_are_written_in_few_calls(store: FakeStore, routers: Routers) -> None:
    """Not one by one."""
    store.writes.clear()
    for number in range(500):
        routers[0].tier.keep(SPACE, b"%016d" % number, vector(), "t")
    await settled(routers[0].tier)
    assert sum(size for size in store.writes if size > 1) == 500
    assert len(store.writes) < 10
    assert routers[0].tier.counts.written == 500


async def test_what_waits_is_bounded(store: FakeStore) -> None:
    """Beyond the bound, and while the store is ill, vectors are dropped and counted."""
    size = 4 * DIMENSIONS + HEADER_BYTES
    router = TierUnderTest(store, replace(SETTINGS, max_waiting_bytes=3 * size))
    router.tier.keep(SPACE, KEY, vector(), "t")
    assert (router.tier.counts.dropped, router.tier.waiting_bytes) == (1, 0)
    router.serve()
    await until(lambda: router.tier.is_open)
    for number in range(5):
        router.tier.keep(SPACE, b"%016d" % number, vector(), "t")
    assert (router.tier.counts.dropped, router.tier.waiting_bytes) == (3, 3 * size)
    await router.tier.close()
    assert router.tier.counts.written == 3


async def test_with_a_secret_keys_say_nothing_and_values_cannot_be_planted(
    store: FakeStore,
) -> None:
    """Who does not have it neither finds a text's key nor writes what is believed."""
    settings = replace(SETTINGS, secret=b"s" * 16)
    ours, theirs = TierUnderTest(store, settings), TierUnderTest(store)
    for one in (ours, theirs):
        one.serve()
    await until(lambda: ours.tier.is_open and theirs.tier.is_open)
    await ours.keep(KEY, vector())
    assert not any(KEY.hex().encode() in name for name in store.values)
    assert await theirs.find(KEY) == {}
    (name,) = (key for key in store.values if not key.endswith((b"probe", b"doubts")))
    store.values[name] = _sealed(vector(2))
    assert await ours.find(KEY) == {}
    assert ours.tier.counts.refused == 1
    for one in (ours, theirs):
        await one.tier.close()


async def test_a_request_takes_from_memory_tier_and_target(store: FakeStore) -> None:
    """Each input from the nearest that has it; what was found counts as saved, and is kept near."""
    first, second = TierUnderTest(store), TierUnderTest(store)
    for one in (first, second):
        one.serve()
    await until(lambda: first.tier.is_open and second.tier.is_open)
    asked: list[int] = []

    async def compute(part: TokenBatch, done: Done) -> None:
        asked.extend(part.ids.tolist())
        done(0, np.stack([vector(int(token)) for token in part.ids]), "t")

    def batch(*tokens: int) -> TokenBatch:
        return TokenBatch(np.array(tokens, "i4"), np.ones(len(tokens), "i4"))

    near = Sharing(VectorMemory(10**6), second.tier)
    await Sharing(VectorMemory(10**6), first.tier).embed(SPACE, batch(1, 2), compute)
    await settled(first.tier)
    await near.embed(SPACE, batch(3), compute)
    asked.clear()
    answer = await near.embed(SPACE, batch(4, 1, 3, 2, 4), compute)
    assert asked == [4]
    assert answer.saved_tokens == 4
    assert answer.targets == ("t",)
    for row, token in zip(answer.vectors, (4, 1, 3, 2, 4), strict=True):
        assert row.tobytes() == vector(token).tobytes()
    store.reads.clear()
    again = await near.embed(SPACE, batch(1, 2, 3, 4), compute)
    assert (again.saved_tokens, again.targets, store.reads) == (4, (), [])
    for one in (first, second):
        await one.tier.close()


async def test_a_closed_tier_is_not_asked(store: FakeStore) -> None:
    """No call, no wait, no task."""
    router = TierUnderTest(store)
    place = Sharing(VectorMemory(0), router.tier)

    async def compute(part: TokenBatch, done: Done) -> None:
        done(0, np.stack([vector(int(token)) for token in part.ids]), "t")

    await place.embed(SPACE, TokenBatch(np.array([1], "i4"), np.array([1], "i4")), compute)
    assert (store.reads, store.writes) == ([], [])
    assert router.tier.counts.dropped == 1


def test_an_envelope_opens_to_what_was_put_in() -> None:
    """Numbers to the bit, read-only."""
    sealed = unseal(KEY, seal(KEY, vector(), b"o" * 8, 7, b"x"), DIMENSIONS, b"x")
    assert sealed is not None
    assert (sealed.origin, sealed.written_ms) == (b"o" * 8, 7)
    assert sealed.vector.tobytes() == vector().tobytes()
    with pytest.raises(ValueError, match="read-only"):
        sealed.vector[0] = 1
