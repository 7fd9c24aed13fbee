"""The tier behind the memory that routers share: asked in bounded time, written to afterwards.

A request never fails by it and never waits longer than the configured time. After some failures it
is shut: requests go past it at no cost, until a probe of its own has found that it answers again.
"""

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.dispatch.bystander import Bystander
from router.domain.clock import Clock
from router.domain.errors import CacheUnavailableError
from router.domain.ports import SharedStore
from router.domain.types import Float32Array, Space
from router.routing.doubts import ALL, MOST_BYTES, Doubts
from router.vectors.envelope import HEADER_BYTES, origin_of, seal, unseal

# One call brings at most this many vectors: ten megabytes of the widest, a millisecond of checks.
_KEYS_A_READ = 128
_BYTES_A_WRITE = 1024 * 1024
_WRITE_TIMEOUT_S = 1.0
_MOST_SUSPECTS = 10_000


@dataclass(frozen=True, slots=True)
class TierSettings:
    """`secret` is b"" where there is none."""

    namespace: str
    secret: bytes
    ttl_s: float
    timeout_s: float
    max_waiting_bytes: int


@dataclass(slots=True)
class TierCounts:
    """Vectors found, not found, found and not believed, written, dropped; calls that failed."""

    hits: int = 0
    misses: int = 0
    refused: int = 0
    written: int = 0
    dropped: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A vector (d,) that is to be written, and when it was computed."""

    space_id: bytes
    key: bytes
    vector: Float32Array
    target: str
    computed_ms: int

    @property
    def size(self) -> int:
        return self.vector.nbytes + HEADER_BYTES


class SharedTier:
    """Vectors of all spaces in one shared store."""

    def __init__(
        self,
        store: SharedStore,
        settings: TierSettings,
        clock: Clock,
        report: Callable[[bool, str | None], None],
    ) -> None:
        """`report` hears when the store is found to answer, or not to answer, and why."""
        self._store = store
        self._settings = settings
        self._secret = hashlib.blake2b(settings.secret).digest() if settings.secret else b""
        self._targets: dict[bytes, str] = {}
        self._spaces: Mapping[str, str] = {}
        self._is_trusted: Callable[[str], bool] = bool
        self._doubted: set[str] = set()
        self._clock = clock
        self._doubts: dict[bytes, Doubts] = {}
        self._untold: dict[tuple[bytes, bytes], None] = {}
        self._suspects: set[bytes] = set()
        self._waiting: deque[_Waiting] = deque()
        self.waiting_bytes = 0
        self.counts = TierCounts()
        self._work = asyncio.Event()
        self._report = report
        self._bystander = Bystander(self._probe, clock, self._changed)
        self._writer: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is worth asking; False costs a request nothing."""
        return self._bystander.is_well

    def serve(self, spaces: Mapping[str, str], is_trusted: Callable[[str], bool]) -> None:
        """Believe these targets from now on; the first time, look after the store too.

        `spaces` are names of spaces by target, `is_trusted` tells whether one is verified here.
        Needs a running event loop.
        """
        self._targets = {origin_of(name): name for name in spaces}
        self._spaces, self._is_trusted = spaces, is_trusted
        if self._writer is None:
            self._bystander.start()
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Write what waits, as far as that goes quickly, and let go of the store."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITE_TIMEOUT_S):
                while self.is_open and self._waiting:
                    await self._write_some()
        await self._bystander.close()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._store.close()

    async def find(
        self, space: Space, keys: Sequence[bytes]
    ) -> dict[bytes, tuple[Float32Array, str]]:
        """Vectors (d,) and their targets by those keys that are found; raises nothing.

        It takes the configured time at most; what has come by then is given.
        """
        found: dict[bytes, tuple[Float32Array, str]] = {}
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                for first in range(0, len(keys), _KEYS_A_READ):
                    await self._read(space, keys[first : first + _KEYS_A_READ], found)
        except (TimeoutError, CacheUnavailableError) as error:
            self.counts.failures += 1
            self._bystander.failed(error)
        else:
            self._bystander.succeeded()
        # One that was believed may have been put out while the rest was read.
        for target in {target for _, target in found.values()}:
            if not self._is_trusted(target):
                found = {key: one for key, one in found.items() if one[1] != target}
        self.counts.hits += len(found)
        self.counts.misses += len(keys) - len(found)
        return found

    def keep(self, space: Space, key: bytes, vector: Float32Array, target: str) -> None:
        """Write a vector (d,) that a target computed, some time after this."""
        # Stamped here: a doubt about the target may come while it waits.
        one = _Waiting(space.id, key, vector, target, self._now_ms())
        if not self.is_open or one.size > self._settings.max_waiting_bytes - self.waiting_bytes:
            self.counts.dropped += 1
            return
        self._waiting.append(one)
        self.waiting_bytes += one.size
        self._work.set()

    def heard(self, space: Space, target: str, *, is_wrong: bool) -> None:
        """A target was found wrong, or right: once more when it is back, what it wrote is doubted.

        Nothing that it has written until now is believed, and the other routers are told.
        """
        if is_wrong:
            self._doubted.add(target)
        elif target not in self._doubted:
            return
        self._doubts_of(space).add(origin_of(target), self._now_ms())
        self._untold[space.id, origin_of(target)] = None
        kept = [one for one in self._waiting if one.target != target]
        self.counts.dropped += len(self._waiting) - len(kept)
        self._waiting = deque(kept)
        self.waiting_bytes = sum(one.size for one in kept)
        self._work.set()

    async def _read(
        self, space: Space, keys: Sequence[bytes], found: dict[bytes, tuple[Float32Array, str]]
    ) -> None:
        names = [self._place_of_doubts(space.id), *(self._place(space.id, key) for key in keys)]
        records, *values = await self._store.read(names)
        self._doubts_of(space).read(records)
        for key, value in zip(keys, values, strict=True):
            if value is None:
                continue
            believed = self._believed(space, key, value)
            if believed is None:
                self.counts.refused += 1
                if len(self._suspects) < _MOST_SUSPECTS:
                    self._suspects.add(key)
            else:
                found[key] = believed

    def _believed(self, space: Space, key: bytes, value: bytes) -> tuple[Float32Array, str] | None:
        """The vector, if it is whole, of this space, and by a target that is verified here too."""
        sealed = unseal(key, value, space.dimensions, self._secret)
        if sealed is None:
            return None
        target = self._targets.get(sealed.origin)
        if target is None or self._spaces[target] != space.name or not self._is_trusted(target):
            return None
        doubts = self._doubts_of(space)
        if not doubts.may_believe(sealed.origin, sealed.written_ms, self._now_ms()):
            return None
        return sealed.vector, target

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self.is_open and (self._waiting or self._untold):
                await self._write_some()

    async def _write_some(self) -> None:
        """What is doubted, and then a call's worth of vectors; raises nothing."""
        new: dict[bytes, bytes] = {}
        instead: dict[bytes, bytes] = {}
        size = 0
        while self._waiting and size < _BYTES_A_WRITE:
            one = self._waiting.popleft()
            origin = origin_of(one.target)
            value = seal(one.key, one.vector, origin, one.computed_ms, self._secret)
            # What was found there and not believed would stay there for all its days.
            place = instead if one.key in self._suspects else new
            self._suspects.discard(one.key)
            place[self._place(one.space_id, one.key)] = value
            size += one.size
            self.waiting_bytes -= one.size
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT_S):
                await self._tell_doubts()
                if size:
                    await self._store.write(new, instead, self._settings.ttl_s)
        except (TimeoutError, CacheUnavailableError) as error:
            self.counts.failures += 1
            self.counts.dropped += len(new) + len(instead)
            self._bystander.failed(error)
        else:
            self.counts.written += len(new) + len(instead)
            self._bystander.succeeded()

    async def _tell_doubts(self) -> None:
        for space_id, origin in list(self._untold):
            # From now on, and not from when it was found out: others have gone on writing.
            record = self._doubts[space_id].add(origin, self._now_ms())
            place, life_s = self._place_of_doubts(space_id), 2 * self._settings.ttl_s
            length = await self._store.append(place, record, life_s)
            if length > MOST_BYTES:
                # So many that all that was written until now is better given up.
                record = self._doubts[space_id].add(ALL, self._now_ms())
                await self._store.write({}, {place: record}, life_s)
            self._untold.pop((space_id, origin), None)

    async def _probe(self) -> None:
        """Write something and read it back; CacheUnavailableError."""
        name, value = self._name(b"", b"probe"), b"%d" % self._now_ms()
        await self._store.write({}, {name: value}, 60.0)
        await self._store.read([name])

    def _changed(self, is_well: bool, reason: str | None) -> None:
        self._work.set()
        self._report(is_well, reason)

    def _doubts_of(self, space: Space) -> Doubts:
        return self._doubts.setdefault(space.id, Doubts())

    def _place(self, space_id: bytes, key: bytes) -> bytes:
        if self._secret:
            key = hashlib.blake2b(key, digest_size=16, key=self._secret).digest()
        return self._name(space_id, key.hex().encode())

    def _place_of_doubts(self, space_id: bytes) -> bytes:
        return self._name(space_id, b"doubts")

    def _name(self, space_id: bytes, rest: bytes) -> bytes:
        return b":".join((self._settings.namespace.encode(), space_id.hex().encode(), rest))

    def _now_ms(self) -> int:
        return int(self._clock.wall_s() * 1000)
