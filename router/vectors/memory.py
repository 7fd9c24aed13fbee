"""Vectors that were computed before, by what they were computed from; bounded in bytes.

Kept at the space's full width: any narrower dimension, dtype or encoding is derived from it.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from router.domain.types import Float32Array, TokenBatch

# What Python and numpy need around the numbers of one entry, measured.
_ENTRY_BYTES = 400


@dataclass(frozen=True, slots=True)
class _Entry:
    vector: Float32Array
    origin: str


class VectorMemory:
    """The least recently used vector goes first when room is needed."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` bounds vectors and what is kept around them; 0 keeps nothing."""
        self._max_bytes = max_bytes
        self._entries: dict[bytes, _Entry] = {}
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Float32Array | None:
        """The vector (d,), not to be written to, or None."""
        entry = self._entries.pop(key, None)
        if entry is None:
            self.misses += 1
            return None
        # Taken out and put back, it stands last in the dictionary's order: most recently used.
        self._entries[key] = entry
        self.hits += 1
        return entry.vector

    def put(self, key: bytes, vector: Float32Array, origin: str) -> None:
        """Keep a copy of a vector (d,); `origin` is the target that computed it."""
        size = vector.nbytes + _ENTRY_BYTES
        if size > self._max_bytes:
            return
        self._drop(key)
        while self.bytes + size > self._max_bytes:
            self._drop(next(iter(self._entries)))
        kept = np.array(vector, dtype=np.float32)
        kept.flags.writeable = False
        self._entries[key] = _Entry(kept, origin)
        self.bytes += size

    def forget(self, origin: str) -> int:
        """Drop all that a target computed, since it is no longer trusted; how many there were."""
        doubtful = [key for key, entry in self._entries.items() if entry.origin == origin]
        for key in doubtful:
            self._drop(key)
        return len(doubtful)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.vector.nbytes + _ENTRY_BYTES


def keys_of(space_id: bytes, batch: TokenBatch) -> list[bytes]:
    """One key a sequence: a hash of the space's id, the provider's input type and the ids.

    128 bits that nobody can steer into another's: two inputs never share a vector by accident.
    """
    start = hashlib.blake2b(space_id, digest_size=16)
    start.update((batch.input_type or "").encode() + b"\0")
    data, keys, first = batch.ids.tobytes(), [], 0
    for length in batch.lengths.tolist():
        one = start.copy()
        one.update(data[first : first + 4 * length])
        keys.append(one.digest())
        first += 4 * length
    return keys
