"""Keys of the store in memory: bounded, whatever is shown, and never older than is allowed.

Two halves, each the least recently used first to go: keys that exist, and digests that nobody
was given. Garbage pushes out garbage, never a good key.
"""

import hmac
from collections import OrderedDict
from typing import Any

from router.domain.types import KnownKey

# The place is found by the first bytes of a hash that nobody can steer, so its timing tells a
# guesser nothing; what decides is compared in constant time.
_SLOT = 8


class KeyCache:
    """Answers of the store by the SHA-256 digest of a key.

    Answers hold until `forget` is told of a change. An answer that was on its way while something
    changed is not kept: `put` takes the revision at which the store was asked.
    """

    def __init__(self, max_known: int, max_unknown: int) -> None:
        """Keep at most so many keys, and so many digests that are none."""
        self.revision = 0
        self._max_known = max_known
        self._max_unknown = max_unknown
        self._known: OrderedDict[bytes, tuple[bytes, KnownKey]] = OrderedDict()
        self._unknown: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        """Answers kept, of both kinds."""
        return len(self._known) + len(self._unknown)

    def known(self, digest: bytes) -> KnownKey | None:
        """The key of that digest, if it is in memory."""
        slot = digest[:_SLOT]
        found = self._known.get(slot)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        self._known.move_to_end(slot)
        return found[1]

    def is_unknown(self, digest: bytes) -> bool:
        """Whether the store has said that there is no such key."""
        slot = digest[:_SLOT]
        found = self._unknown.get(slot)
        if found is None or not hmac.compare_digest(found, digest):
            return False
        self._unknown.move_to_end(slot)
        return True

    def put(self, digest: bytes, key: KnownKey | None, asked_at: int) -> None:
        """Keep an answer, unless something has changed since revision `asked_at`."""
        if asked_at != self.revision:
            return
        slot = digest[:_SLOT]
        if key is None:
            self._unknown[slot] = digest
            _bound(self._unknown, self._max_unknown)
        else:
            self._known[slot] = (digest, key)
            _bound(self._known, self._max_known)

    def drop(self, digest: bytes) -> None:
        """Let go of an answer that time alone has made useless."""
        self._known.pop(digest[:_SLOT], None)

    def forget(self, digest: bytes) -> None:
        """The key of that digest was made or changed."""
        self.revision += 1
        self._known.pop(digest[:_SLOT], None)
        self._unknown.pop(digest[:_SLOT], None)

    def forget_tenant(self, tenant: str) -> None:
        """The tenant has changed, and with it all its keys. A walk through memory: it is rare."""
        self.revision += 1
        gone = [slot for slot, (_, key) in self._known.items() if key.caller.tenant == tenant]
        for slot in gone:
            del self._known[slot]

    def forget_all(self) -> None:
        """Nobody can say what has changed."""
        self.revision += 1
        self._known.clear()
        self._unknown.clear()


def _bound(entries: OrderedDict[bytes, Any], most: int) -> None:
    if len(entries) > most:
        entries.popitem(last=False)
