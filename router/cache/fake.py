"""A shared store in this process: for tests, and for what needs two routers and no Redis."""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from router.domain.errors import CacheUnavailableError


class FakeStore:
    """SharedStore in a dictionary. `delay_s` makes it slow, `is_down` makes it refuse.

    After `hangs_after` reads in `reads` no read is answered.
    """

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.delay_s = 0.0
        self.is_down = False
        self.hangs_after = sys.maxsize
        self.reads: list[int] = []
        self.writes: list[int] = []

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values; `reads` counts the keys of each call."""
        self.reads.append(len(keys))
        if len(self.reads) > self.hangs_after:
            await asyncio.Event().wait()
        await self._answer()
        return [self.values.get(key) for key in keys]

    async def write(
        self, new: Mapping[bytes, bytes], instead: Mapping[bytes, bytes], ttl_s: float
    ) -> None:
        """Keep them without end; `writes` counts the keys of each call."""
        del ttl_s
        self.writes.append(len(new) + len(instead))
        await self._answer()
        for key, value in new.items():
            self.values.setdefault(key, value)
        self.values.update(instead)

    async def append(self, key: bytes, value: bytes, ttl_s: float) -> int:
        """Add to a value."""
        del ttl_s
        await self._answer()
        self.values[key] = self.values.get(key, b"") + value
        return len(self.values[key])

    async def close(self) -> None:
        """Nothing to give back."""

    async def _answer(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.is_down:
            raise CacheUnavailableError("down")
