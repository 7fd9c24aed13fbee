"""Who may call, and for what: the rules for a key that a client shows."""

import hmac
from collections.abc import Mapping

from router.domain.errors import AuthenticationError, ScopeError
from router.domain.keys import KEY_LENGTH, PREFIX
from router.domain.types import Caller, KnownKey, Scope

_NO_KEY = (
    "You didn't provide an API key. Send it in the Authorization header: 'Authorization: Bearer …'."
)
_WRONG_KEY = "Incorrect API key provided."
_PREFIX = PREFIX.encode()
# The slot is found by the first bytes of a hash that nobody can steer, so its timing tells a
# guesser nothing; what decides is compared in constant time. Cost does not grow with the keys.
_SLOT = 8


def shown_secret(authorization: bytes | None) -> bytes:
    """The key or token of an `Authorization: Bearer` value; AuthenticationError for none."""
    scheme, _, secret = (authorization or b"").partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not secret:
        raise AuthenticationError(_NO_KEY)
    return secret


def may_be_stored(secret: bytes) -> bool:
    """Whether it has the form of the keys that the store holds; nothing else is looked up there."""
    return len(secret) == KEY_LENGTH and secret.startswith(_PREFIX)


def may_be_token(secret: bytes) -> bool:
    """Whether it has the form of a JSON Web Token: three parts, the first a JSON object."""
    return secret.startswith(b"eyJ") and secret.count(b".") == 2


def wrong_key() -> AuthenticationError:
    """What a key that nobody was given is answered with."""
    return AuthenticationError(_WRONG_KEY)


def usable(key: KnownKey, now_s: float) -> Caller:
    """The key's caller at that wall-clock time; AuthenticationError where it holds no more.

    Whoever reads the reason holds the key, so it gives nothing away.
    """
    if key.is_disabled:
        raise AuthenticationError("This API key is disabled.")
    if key.expires_s is not None and now_s >= key.expires_s:
        raise AuthenticationError("This API key has expired.")
    return key.caller


def require_scope(caller: Caller, *anyone_of: Scope) -> None:
    """ScopeError where the caller has none of the scopes."""
    if caller.scopes.isdisjoint(anyone_of):
        needed = " or ".join(anyone_of)
        held = ", ".join(sorted(caller.scopes)) or "none"
        raise ScopeError(
            f"This API key has insufficient permissions for this operation. "
            f"Missing scope: {needed}; the key has: {held}."
        )


class KeyRing:
    """The keys that the configuration file declares, all in memory."""

    def __init__(self, keys: Mapping[str, KnownKey], tenants: Mapping[str, bool]) -> None:
        """Take keys by fingerprint (hexadecimal SHA-256), and whether each tenant may call."""
        self.tenants = dict(tenants)
        self._slots: dict[bytes, list[tuple[bytes, KnownKey]]] = {}
        for text, key in keys.items():
            digest = bytes.fromhex(text)
            self._slots.setdefault(digest[:_SLOT], []).append((digest, key))

    def known(self, digest: bytes) -> KnownKey | None:
        """The key of a SHA-256 digest."""
        for candidate, key in self._slots.get(digest[:_SLOT], ()):
            if hmac.compare_digest(candidate, digest):
                return key
        return None
