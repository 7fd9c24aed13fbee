"""How a vector lies in a memory that others write to as well, and why it may be believed.

A value is believed only where it proves, by a checksum over its key and all of its bytes, that it
was written under this key, for this space, whole. With a secret the checksum can be made by those
who share it alone. The numbers are the exact float32 of the answer they were first given in.

    4 bytes   mark and version of the format
    4 bytes   numbers in the vector, unsigned, little-endian like all that follows
    8 bytes   when it was written, milliseconds since the Unix epoch
    8 bytes   who computed it: a hash of the target's name
    16 bytes  BLAKE2b of the key, the 24 bytes above and the numbers
    the numbers, float32
"""

import hashlib
import struct
from dataclasses import dataclass

import numpy as np

from router.domain.types import Float32Array
from router.vectors.checks import UNIT_TOLERANCE

_MARK = b"EWV1"
_HEAD = struct.Struct("<4sIQ8s")
_CHECKSUM_BYTES = 16
HEADER_BYTES = _HEAD.size + _CHECKSUM_BYTES


@dataclass(frozen=True, slots=True)
class Sealed:
    """A vector (d,) float32, not to be written to; `origin` is a hash, `written_ms` Unix time."""

    vector: Float32Array
    origin: bytes
    written_ms: int


def origin_of(target: str) -> bytes:
    """The 8 bytes that stand for a target's name."""
    return hashlib.blake2b(target.encode(), digest_size=8).digest()


def seal(key: bytes, vector: Float32Array, origin: bytes, written_ms: int, secret: bytes) -> bytes:
    """The bytes to keep under a key for a vector (d,) float32; `secret` of 64 bytes at most."""
    numbers = np.ascontiguousarray(vector, "<f4").tobytes()
    head = _HEAD.pack(_MARK, len(vector), written_ms, origin)
    return b"".join((head, _checksum(key, head, numbers, secret), numbers))


def unseal(key: bytes, value: bytes, dimensions: int, secret: bytes) -> Sealed | None:
    """The vector that was kept under this key; None where anything about the value is wrong."""
    if len(value) != HEADER_BYTES + 4 * dimensions or value[: len(_MARK)] != _MARK:
        return None
    head, numbers = value[: _HEAD.size], memoryview(value)[HEADER_BYTES:]
    if value[_HEAD.size : HEADER_BYTES] != _checksum(key, head, numbers, secret):
        return None
    _, count, written_ms, origin = _HEAD.unpack(head)
    # Read-only, as it lies on bytes.
    vector: Float32Array = np.frombuffer(value, "<f4", offset=HEADER_BYTES)
    square = float(np.dot(vector, vector))
    # The contract holds here too, whoever wrote it; NaN fails every comparison.
    if count != dimensions or not abs(square - 1.0) <= UNIT_TOLERANCE:
        return None
    return Sealed(vector, origin, written_ms)


def _checksum(key: bytes, head: bytes, numbers: bytes | memoryview, secret: bytes) -> bytes:
    digest = hashlib.blake2b(key, digest_size=_CHECKSUM_BYTES, key=secret)
    digest.update(head)
    digest.update(numbers)
    return digest.digest()
