"""Keys in memory: bounded, the least used go first, changes are heard."""

import hashlib
import tracemalloc

from router.domain.types import Caller, KnownKey
from router.policy.key_cache import KeyCache


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def key(tenant: str = "acme") -> KnownKey:
    return KnownKey(Caller(tenant, "first"))


def test_the_least_recently_used_key_goes_first() -> None:
    """A key that is shown again stays, the one that is not makes room."""
    cache = KeyCache(max_known=2, max_unknown=2)
    cache.put(digest(1), key(), 0)
    cache.put(digest(2), key(), 0)
    assert cache.known(digest(1)) is not None
    cache.put(digest(3), key(), 0)
    assert cache.known(digest(1)) is not None
    assert cache.known(digest(2)) is None


def test_garbage_pushes_out_garbage_only() -> None:
    """However many wrong keys are shown, the good ones stay in memory."""
    cache = KeyCache(max_known=2, max_unknown=3)
    cache.put(digest(-1), key(), 0)
    for number in range(1000):
        cache.put(digest(number), None, 0)
    assert cache.known(digest(-1)) is not None
    assert cache.is_unknown(digest(999))
    assert not cache.is_unknown(digest(0))
    assert len(cache) == 4


def test_a_digest_that_shares_its_first_bytes_is_another() -> None:
    """The whole digest decides, not the place where it is kept."""
    cache = KeyCache(max_known=8, max_unknown=8)
    twin = digest(1)[:8] + digest(2)[8:]
    cache.put(digest(1), key(), 0)
    assert cache.known(twin) is None
    cache.put(twin, None, 0)
    assert cache.is_unknown(twin)
    assert not cache.is_unknown(digest(1))


def test_an_answer_from_before_a_change_is_not_kept() -> None:
    """The store was asked, something changed, the answer came: it may be the old one."""
    cache = KeyCache(max_known=8, max_unknown=8)
    asked_at = cache.revision
    cache.forget(digest(7))
    cache.put(digest(1), key(), asked_at)
    cache.put(digest(2), None, asked_at)
    assert len(cache) == 0
    cache.put(digest(1), key(), cache.revision)
    assert cache.known(digest(1)) is not None


def test_a_change_is_forgotten_key_by_key_or_tenant_by_tenant() -> None:
    """Nothing else has to be asked for again."""
    cache = KeyCache(max_known=8, max_unknown=8)
    for number, tenant in enumerate(["acme", "acme", "rival"]):
        cache.put(digest(number), key(tenant), cache.revision)
    cache.forget(digest(0))
    assert [cache.known(digest(n)) is None for n in range(3)] == [True, False, False]
    cache.forget_tenant("acme")
    assert [cache.known(digest(n)) is None for n in range(3)] == [True, True, False]


def test_memory_stays_bounded() -> None:
    """A full cache does not grow, whatever comes after; it costs under 1 KB a key."""
    cache = KeyCache(max_known=2000, max_unknown=2000)
    tracemalloc.start()
    for number in range(2000):
        cache.put(digest(number), KnownKey(Caller(f"tenant-{number}", f"key-{number}")), 0)
        cache.put(digest(-number - 1), None, 0)
    full, _ = tracemalloc.get_traced_memory()
    for number in range(2000, 12_000):
        cache.put(digest(number), KnownKey(Caller(f"tenant-{number}", f"key-{number}")), 0)
        cache.put(digest(-number - 1), None, 0)
    later, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(cache) == 4000
    assert full / 2000 < 1000
    # A dictionary of moving entries keeps some room to move; six times as many have come.
    assert later < full * 1.5
