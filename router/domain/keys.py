"""API keys: what they look like, and the only form in which they are kept."""

import hashlib
import secrets

# Secret scanners recognise keys by it, and so do we: nothing else is worth asking the store for.
PREFIX = "ew-"
_RANDOM_BYTES = 32
KEY_LENGTH = len(PREFIX) + 43


def new_key() -> str:
    """A fresh key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def fingerprint(key: str) -> str:
    """SHA-256 of a key in hexadecimal; 256 random bits need neither salt nor stretching."""
    return hashlib.sha256(key.encode()).hexdigest()
