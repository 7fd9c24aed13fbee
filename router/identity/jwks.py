"""The public keys of one provider: fetched when needed, kept, fetched again when they turn.

Source: RFC 7517 (JSON Web Key); OpenID Connect Discovery 1.0, section 4.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from router.config.authentication import IssuerSettings, is_safe_url
from router.domain.clock import Clock
from router.domain.errors import AuthenticationError, KeysUnavailableError
from router.identity.fetch import FetchError

# Strangers choose the key id of a token, so an unknown one may not cause a fetch each time.
REFRESH_PAUSE_S = 10.0
# After a fetch that failed.
RETRY_PAUSE_S = 1.0
# Providers announce new keys and withdraw old ones hours ahead.
REFRESH_AFTER_S = 600.0
# A provider that cannot be reached for this long may have withdrawn any of its keys.
MAX_AGE_S = 24 * 3600.0
_DISCOVERY = "/.well-known/openid-configuration"

Fetch = Callable[[str], Awaitable[bytes]]


class KeySource:
    """Keys of one provider by key id."""

    def __init__(self, issuer: IssuerSettings, fetch: Fetch, clock: Clock) -> None:
        """`fetch` gives the body behind an address, or FetchError."""
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_s = float("-inf")
        self._tried_s = float("-inf")
        self._refresh: asyncio.Task[bool] | None = None

    async def key(self, key_id: str | None) -> Key:
        """The key of that id, or the only one there is where a token names none.

        AuthenticationError where the provider has no such key; KeysUnavailableError where it
        cannot be asked.
        """
        age_s = self._clock.monotonic_s() - self._fetched_s
        if age_s >= REFRESH_AFTER_S:
            task = self._begin()
            if self._keys is None or age_s >= MAX_AGE_S:
                await asyncio.shield(task)
        found = self._find(key_id)
        if found is None and (self._is_fetching() or self._may_try()):
            await asyncio.shield(self._begin())
            found = self._find(key_id)
        if found is not None:
            return found
        if self._keys is None or self._fetched_s < self._tried_s:
            raise KeysUnavailableError("the identity provider's keys cannot be fetched right now")
        raise AuthenticationError("The token's key is not one that its issuer publishes.")

    async def close(self) -> None:
        """Give up a fetch under way."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    def _find(self, key_id: str | None) -> Key | None:
        if self._keys is None or self._clock.monotonic_s() - self._fetched_s >= MAX_AGE_S:
            return None
        if key_id is None:
            return self._keys.keys[0] if len(self._keys.keys) == 1 else None
        return next((key for key in self._keys if key.kid == key_id), None)

    def _is_fetching(self) -> bool:
        return self._refresh is not None and not self._refresh.done()

    def _may_try(self) -> bool:
        pause_s = RETRY_PAUSE_S if self._fetched_s < self._tried_s else REFRESH_PAUSE_S
        return self._clock.monotonic_s() - self._tried_s >= pause_s

    def _begin(self) -> "asyncio.Task[bool]":
        """The fetch under way, a new one, or the last one where that is not long ago."""
        if self._refresh is None or (not self._is_fetching() and self._may_try()):
            self._tried_s = self._clock.monotonic_s()
            self._refresh = asyncio.create_task(self._fetch_keys())
        return self._refresh

    async def _fetch_keys(self) -> bool:
        """Whether the keys could be fetched; those there were stay where they could not."""
        started_s = self._tried_s
        try:
            address = self._issuer.jwks_url or await self._discovered()
            self._keys = KeySet.import_key_set(_json(await self._fetch(address)))  # type: ignore[arg-type]
        except (FetchError, JoseError, ValueError, KeyError, TypeError):
            return False
        self._fetched_s = started_s
        return True

    async def _discovered(self) -> str:
        document = _json(await self._fetch(self._issuer.issuer.rstrip("/") + _DISCOVERY))
        address = document["jwks_uri"]
        if document["issuer"] != self._issuer.issuer or not is_safe_url(address):
            raise FetchError("the discovery document is another issuer's")
        return str(address)


def _json(body: bytes) -> dict[str, Any]:
    document = json.loads(body)
    if not isinstance(document, dict):
        raise FetchError("a JSON object was expected")
    return document
