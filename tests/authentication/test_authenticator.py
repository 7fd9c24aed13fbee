"""From a key to its caller: from memory where it can be, from the store once for all."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from router.authentication.authenticator import Authenticator
from router.authentication.changes import ChangeWatch
from router.domain.errors import AuthenticationError, KeysUnavailableError
from router.domain.keys import new_key
from router.domain.types import Caller, KeyChanges, KnownKey
from router.policy.key_cache import KeyCache
from router.policy.keys import KeyRing
from tests.support.keys import HandClock, MemoryDirectory, NoTokens, wait_for_store

ACME = Caller("acme", "first")
STALENESS_S = 60.0


@dataclass
class Parts:
    directory: MemoryDirectory
    cache: KeyCache
    watch: ChangeWatch
    clock: HandClock
    authenticator: Authenticator

    def give(self, **changes: object) -> tuple[bytes, bytes]:
        """A key of the store: its Authorization value and digest."""
        secret = new_key().encode()
        digest = hashlib.sha256(secret).digest()
        self.directory.put(digest, KnownKey(ACME, **changes))  # type: ignore[arg-type]
        return b"Bearer " + secret, digest

    async def ask(self, shown: bytes | None) -> Caller:
        """As the doors do it."""
        return self.authenticator.known(shown) or await self.authenticator.find(shown)


@pytest.fixture
async def parts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parts]:
    # A directory in memory is late only where this machine stands still.
    wait_for_store(monkeypatch)
    directory, cache, clock = MemoryDirectory(), KeyCache(100, 100), HandClock()
    watch = ChangeWatch(directory, cache, clock, STALENESS_S, lambda is_reachable: None)
    await watch.poll()
    authenticator = Authenticator(KeyRing({}, {}), cache, directory, watch, NoTokens(), clock)
    yield Parts(directory, cache, watch, clock, authenticator)
    await authenticator.close()


def garbage() -> bytes:
    return b"Bearer " + new_key().encode()


async def test_a_cold_key_is_asked_for_once_and_then_answered_from_memory(parts: Parts) -> None:
    """The second time nothing waits and nobody is asked."""
    shown, digest = parts.give()
    await parts.watch.poll()
    assert parts.authenticator.known(shown) is None
    assert await parts.ask(shown) == ACME
    assert parts.authenticator.known(shown) == ACME
    assert parts.directory.asked == [[digest]]


async def test_requests_with_one_cold_key_share_one_look_up(parts: Parts) -> None:
    """However many come at once."""
    shown, digest = parts.give()
    parts.directory.delay_s = 0.02
    callers = await asyncio.gather(*(parts.ask(shown) for _ in range(200)))
    assert set(callers) == {ACME}
    assert parts.directory.asked == [[digest]]


async def test_different_cold_keys_share_queries(parts: Parts) -> None:
    """A process asks one query at a time, for all keys that wait: a flood is a few queries."""
    keys = [parts.give()[0] for _ in range(100)]
    flood = [garbage() for _ in range(400)]
    await parts.watch.poll()
    parts.directory.delay_s = 0.01
    answers = await asyncio.gather(*map(parts.ask, keys + flood), return_exceptions=True)
    assert answers[:100] == [ACME] * 100
    assert all(isinstance(answer, AuthenticationError) for answer in answers[100:])
    assert len(parts.directory.asked) <= 5


async def test_a_wrong_key_is_asked_for_once(parts: Parts) -> None:
    """The store hears of it once, however often it is shown."""
    shown = garbage()
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="Incorrect"):
            await parts.ask(shown)
    assert len(parts.directory.asked) == 1


async def test_what_cannot_be_a_key_never_reaches_the_store(parts: Parts) -> None:
    """A key of another form, or a token where none is taken, is wrong at once."""
    for shown in (b"Bearer sk-1234567890", b"Bearer ew-short", b"Bearer eyJh.eyJi.c2ln"):
        with pytest.raises(AuthenticationError):
            parts.authenticator.known(shown)
    assert parts.directory.asked == []


async def test_a_flood_beyond_the_queue_is_unavailable_and_not_wrong(parts: Parts) -> None:
    """What waits is bounded; who finds no place is told to come again."""
    parts.directory.delay_s = 0.05
    flood = [asyncio.create_task(parts.ask(garbage())) for _ in range(1500)]
    answers = await asyncio.gather(*flood, return_exceptions=True)
    kinds = [type(answer) for answer in answers]
    assert kinds.count(AuthenticationError) >= 1024
    assert kinds.count(KeysUnavailableError) >= 1
    assert set(kinds) == {AuthenticationError, KeysUnavailableError}


async def test_a_client_that_leaves_takes_nobody_with_it(parts: Parts) -> None:
    """The look-up goes on for the others who wait for the same key."""
    shown, _ = parts.give()
    parts.directory.delay_s = 0.05
    leaver, stayer = (asyncio.create_task(parts.ask(shown)) for _ in range(2))
    await asyncio.sleep(0.01)
    leaver.cancel()
    assert await stayer == ACME


async def test_a_disabled_key_is_refused_after_the_next_poll(parts: Parts) -> None:
    """Memory answers until then, and says why afterwards."""
    shown, digest = parts.give()
    await parts.watch.poll()
    assert await parts.ask(shown) == ACME
    parts.directory.put(digest, KnownKey(ACME, is_disabled=True))
    await parts.watch.poll()
    with pytest.raises(AuthenticationError, match="disabled"):
        await parts.ask(shown)


async def test_a_key_made_after_it_was_tried_works_after_the_next_poll(parts: Parts) -> None:
    """That it was wrong once is not held against it."""
    secret = new_key().encode()
    shown, digest = b"Bearer " + secret, hashlib.sha256(secret).digest()
    with pytest.raises(AuthenticationError):
        await parts.ask(shown)
    parts.directory.put(digest, KnownKey(ACME))
    await parts.watch.poll()
    assert await parts.ask(shown) == ACME


async def test_a_key_ends_at_its_time(parts: Parts) -> None:
    """The end is looked at on every request, without the store."""
    shown, _ = parts.give(expires_s=parts.clock.now_s + 10)
    await parts.watch.poll()
    assert await parts.ask(shown) == ACME
    parts.clock.now_s += 9.9
    assert parts.authenticator.known(shown) == ACME
    parts.clock.now_s += 0.1
    with pytest.raises(AuthenticationError, match="expired"):
        parts.authenticator.known(shown)
    assert len(parts.directory.asked) == 1


async def test_known_keys_work_while_the_store_is_down_until_they_are_too_old(
    parts: Parts,
) -> None:
    """Within the staleness that is allowed they work; after it, 503; never "wrong key"."""
    shown, _ = parts.give()
    await parts.watch.poll()
    assert await parts.ask(shown) == ACME
    parts.directory.is_down = True
    parts.clock.now_s += STALENESS_S - 1
    await parts.watch.poll()
    assert await parts.ask(shown) == ACME
    parts.clock.now_s += 1
    with pytest.raises(KeysUnavailableError):
        await parts.ask(shown)
    parts.directory.is_down = False
    await parts.watch.poll()
    assert await parts.ask(shown) == ACME


async def test_unknown_keys_are_unavailable_while_the_store_is_down(parts: Parts) -> None:
    """Nobody can say that they are wrong, so nobody does; later they are asked about."""
    shown, _ = parts.give()
    parts.directory.is_down = True
    with pytest.raises(KeysUnavailableError):
        await parts.ask(shown)
    parts.directory.is_down = False
    assert await parts.ask(shown) == ACME


async def test_a_store_that_was_down_at_the_start_is_believed_from_its_first_answer(
    parts: Parts,
) -> None:
    """What was looked up before anyone listened for changes is forgotten."""
    late = ChangeWatch(parts.directory, parts.cache, parts.clock, STALENESS_S, lambda _: None)
    parts.directory.is_down = True
    await late.poll()
    assert late.trusted_until_s == float("-inf")
    parts.cache.put(b"x" * 32, KnownKey(ACME), parts.cache.revision)
    parts.directory.is_down = False
    await late.poll()
    assert parts.cache.known(b"x" * 32) is None
    assert late.trusted_until_s == parts.clock.now_s + STALENESS_S


async def test_a_defect_does_not_end_the_listening(parts: Parts) -> None:
    """It counts as a store that is out of reach; the next poll hears of changes again."""
    told: list[bool] = []
    watch = ChangeWatch(parts.directory, parts.cache, parts.clock, STALENESS_S, told.append)
    await watch.start()
    healthy = parts.directory.changes

    async def defective(since: int | None) -> KeyChanges:
        parts.directory.changes = healthy  # type: ignore[method-assign]
        raise RuntimeError(str(since))

    parts.directory.changes = defective  # type: ignore[method-assign]
    for _ in range(3000):
        if told == [False, True]:
            break
        await asyncio.sleep(0.01)
    assert told == [False, True]
    await watch.close()


async def test_a_lost_store_is_reported_once_and_its_return_too(parts: Parts) -> None:
    """Not once a poll."""
    told: list[bool] = []
    watch = ChangeWatch(parts.directory, parts.cache, parts.clock, STALENESS_S, told.append)
    for is_down in (False, True, True, False, False):
        parts.directory.is_down = is_down
        await watch.poll()
    assert told == [False, True]
