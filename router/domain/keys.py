"""API keys: what they look like, and the only form in which they are kept."""

import hashlib
import secrets


def new_key() -> str:
    """A fresh key of 256 random bits; the prefix lets secret scanners recognise it."""
    return "ew-" + secrets.token_urlsafe(32)


def fingerprint(key: str) -> str:
    """SHA-256 of a key in hexadecimal; 256 random bits need neither salt nor stretching."""
    return hashlib.sha256(key.encode()).hexdigest()
