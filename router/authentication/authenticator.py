"""From an Authorization value to its caller: at once from memory, or by asking, once for all."""

import hashlib
from dataclasses import replace

from router.authentication.changes import ChangeWatch
from router.authentication.lookup import Lookup
from router.domain.clock import Clock
from router.domain.errors import AuthenticationError, KeysUnavailableError
from router.domain.ports import KeyDirectory, TokenVerifier
from router.domain.types import Caller, KnownKey
from router.policy.key_cache import KeyCache
from router.policy.keys import (
    KeyRing,
    may_be_stored,
    may_be_token,
    shown_secret,
    usable,
    wrong_key,
)

_LOOKUP_TIMEOUT_S = 1.5
# Between two checks of a token's signature; a provider's withdrawn key is obeyed after it.
_TOKEN_KEPT_S = 60.0


class Authenticator:
    """Knows callers. `known` answers from memory and never waits; `find` may ask the store."""

    def __init__(
        self,
        declared: KeyRing,
        cache: KeyCache,
        directory: KeyDirectory,
        watch: ChangeWatch,
        tokens: TokenVerifier,
        clock: Clock,
    ) -> None:
        """Keys of the file are in `declared`; `watch` keeps `cache` true to the `directory`."""
        self._declared = declared
        self._cache = cache
        self.watch = watch
        self._tokens = tokens
        self._clock = clock
        self._keys = Lookup(
            directory.find_keys, _LOOKUP_TIMEOUT_S, cache.put, lambda: cache.revision
        )
        self._tenants = Lookup(
            directory.find_tenants,
            _LOOKUP_TIMEOUT_S,
            lambda name, answer, revision: None,
            lambda: cache.revision,
        )

    def known(self, authorization: bytes | None) -> Caller | None:
        """The caller, if memory has the answer; None where `find` has to be asked.

        AuthenticationError for what is surely no good key; KeysUnavailableError where memory has
        not been held against the store for longer than is allowed.
        """
        secret = shown_secret(authorization)
        digest = hashlib.sha256(secret).digest()
        key = self._declared.known(digest)
        if key is None:
            key = self._cache.known(digest)
            if key is None:
                self._refuse_hopeless(secret, digest)
                return None
            if self._clock.monotonic_s() >= self.watch.trusted_until_s:
                self._require_token(secret)
                return None
        if key.expires_s is None and not key.is_disabled:
            return key.caller
        return self._current(key, digest, secret)

    async def find(self, authorization: bytes | None) -> Caller:
        """The caller; AuthenticationError, or KeysUnavailableError where nobody can say."""
        secret = shown_secret(authorization)
        digest = hashlib.sha256(secret).digest()
        if may_be_token(secret):
            key = await self._checked_token(secret, digest)
        else:
            found = await self._keys.find(digest)
            if found is None:
                raise wrong_key()
            key = found
        return usable(key, self._clock.wall_s())

    def declare(self, declared: KeyRing, tokens: TokenVerifier | None) -> TokenVerifier | None:
        """The configuration declares other keys, and other providers of tokens if any are given.

        Answers in memory that the change may make wrong are forgotten. The verifier that was
        replaced is handed back, to be closed when nobody asks it any more.
        """
        if tokens is not None or declared.tenants != self._declared.tenants:
            self._cache.forget_all()
        self._declared = declared
        if tokens is None:
            return None
        before, self._tokens = self._tokens, tokens
        return before

    async def start(self) -> None:
        """Begin to hear of changes."""
        await self.watch.start()

    async def close(self) -> None:
        """End what waits for the store, or listens to it."""
        await self.watch.close()
        await self._tokens.close()
        await self._keys.close()
        await self._tenants.close()

    def _current(self, key: KnownKey, digest: bytes, secret: bytes) -> Caller | None:
        """The key's caller; None where a token's last check is too long ago."""
        try:
            return usable(key, self._clock.wall_s())
        except AuthenticationError:
            if not may_be_token(secret):
                raise
            self._cache.drop(digest)
            return None

    def _require_token(self, secret: bytes) -> None:
        """A token of a tenant of the file can do without the store; let `find` see to it."""
        if not may_be_token(secret):
            raise KeysUnavailableError("the store of keys has been out of reach for too long")

    def _refuse_hopeless(self, secret: bytes, digest: bytes) -> None:
        if may_be_token(secret) and self._tokens.is_configured:
            return
        if not may_be_stored(secret) or self._cache.is_unknown(digest):
            raise wrong_key()

    async def _checked_token(self, secret: bytes, digest: bytes) -> KnownKey:
        revision = self._cache.revision
        key = await self._tokens.verify(secret)
        tenant = key.caller.tenant
        may_call = self._declared.tenants.get(tenant)
        if may_call is None:
            may_call = await self._tenants.find(tenant)
        if not may_call:
            raise AuthenticationError("The token's tenant is unknown here, or disabled.")
        kept_until_s = self._clock.wall_s() + _TOKEN_KEPT_S
        if key.expires_s is not None:
            kept_until_s = min(kept_until_s, key.expires_s)
        self._cache.put(digest, replace(key, expires_s=kept_until_s), revision)
        return key
