"""A directory of keys in memory that can be slow, counted and out of reach."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from router.authentication import authenticator, changes
from router.domain.errors import StoreUnavailableError
from router.domain.types import KeyChanges, KnownKey


class MemoryDirectory:
    """Like the store's, without a database: what it is asked is written down."""

    def __init__(self) -> None:
        self.keys: dict[bytes, KnownKey] = {}
        self.tenants: dict[str, bool] = {}
        self.asked: list[list[bytes]] = []
        self.asked_tenants: list[list[str]] = []
        self.log: list[KeyChanges] = []
        self.is_down = False
        self.delay_s = 0.0

    async def find_keys(self, digests: Sequence[bytes]) -> Mapping[bytes, KnownKey]:
        self.asked.append(list(digests))
        found = {digest: self.keys[digest] for digest in digests if digest in self.keys}
        await self._work()
        return found

    async def find_tenants(self, names: Sequence[str]) -> Mapping[str, bool]:
        self.asked_tenants.append(list(names))
        await self._work()
        return {name: self.tenants[name] for name in names if name in self.tenants}

    async def changes(self, since: int | None) -> KeyChanges:
        await self._work()
        if since is None:
            return KeyChanges(len(self.log), is_complete=False)
        news = self.log[since:]
        return KeyChanges(
            revision=len(self.log),
            digests=tuple(digest for change in news for digest in change.digests),
            tenants=tuple(tenant for change in news for tenant in change.tenants),
        )

    def put(self, digest: bytes, key: KnownKey | None) -> None:
        """Make, change or remove a key, and log it."""
        self.keys.pop(digest, None)
        if key is not None:
            self.keys[digest] = key
        self.log.append(KeyChanges(len(self.log) + 1, digests=(digest,)))

    async def _work(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.is_down:
            raise StoreUnavailableError("the store is out of reach")


def wait_for_store(patch: pytest.MonkeyPatch) -> None:
    """Routers made from now on wait for a slow store; what else they do is not asked here."""
    patch.setattr(authenticator, "_LOOKUP_TIMEOUT_S", 60.0)
    patch.setattr(changes, "_TIMEOUT_S", 60.0)


class NoTokens:
    """Takes no token at all."""

    is_configured = False

    async def verify(self, token: bytes) -> KnownKey:
        del token
        raise AssertionError("no token should come here")

    async def close(self) -> None:
        pass


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s
