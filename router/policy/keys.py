"""Who may call: the one place where a key that a client shows is compared."""

import hashlib
import hmac

from router.domain.errors import AuthenticationError
from router.domain.types import Caller

_NO_KEY = (
    "You didn't provide an API key. Send it in the Authorization header: 'Authorization: Bearer …'."
)
_WRONG_KEY = "Incorrect API key provided."
# The slot is found by the first bytes of a hash that nobody can steer, so its timing tells a
# guesser nothing; what decides is compared in constant time. Cost does not grow with the keys.
_SLOT = 8


class KeyRing:
    """Finds the caller of a key."""

    def __init__(self, callers: dict[str, Caller]) -> None:
        """Take callers by the fingerprint (hexadecimal SHA-256) of their key."""
        self._slots: dict[bytes, list[tuple[bytes, Caller]]] = {}
        for text, caller in callers.items():
            digest = bytes.fromhex(text)
            self._slots.setdefault(digest[:_SLOT], []).append((digest, caller))

    def authenticate(self, authorization: bytes | None) -> Caller:
        """Caller of an `Authorization: Bearer` value; AuthenticationError if there is none."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise AuthenticationError(_NO_KEY)
        shown = hashlib.sha256(key.strip()).digest()
        for digest, caller in self._slots.get(shown[:_SLOT], ()):
            if hmac.compare_digest(digest, shown):
                return caller
        raise AuthenticationError(_WRONG_KEY)
