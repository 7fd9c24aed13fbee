"""What will end by itself: keys, and certificates in front of the router."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from cryptography import x509

from router.config.settings import Settings
from router.domain.clock import Clock
from router.domain.errors import StoreUnavailableError
from router.telemetry import metric_names as names
from router.telemetry.board import Board

_ASK_EVERY_S = 300.0


class StoredKeys(Protocol):
    """The keys that are not in the file."""

    async def next_expiry_s(self, now_s: float) -> float | None:
        """When the next of them ends, in seconds since the Unix epoch; StoreUnavailableError."""
        ...


class ExpiryObserver:
    """Tells how long keys and certificates still hold."""

    def __init__(
        self,
        declared: Callable[[], Iterable[float]],
        stored: StoredKeys,
        certificates: Sequence[Path],
        clock: Clock,
    ) -> None:
        """`declared` gives the ends of the file's keys, in seconds since the Unix epoch."""
        self._declared = declared
        self._stored = stored
        self._certificates = certificates
        self._clock = clock
        self._stored_end_s: float | None = None
        self._certificate_ends_s: dict[str, float] = {}

    def look(self, board: Board) -> None:
        """Tell everything."""
        now_s = self._clock.wall_s()
        ends = [end for end in (*self._declared(), self._stored_end_s) if end and end > now_s]
        if ends:
            board.tell(names.KEY_EXPIRY, min(ends) - now_s)
        for file, end_s in self._certificate_ends_s.items():
            board.tell(names.CERTIFICATE_EXPIRY, end_s - now_s, file)

    async def work(self) -> None:
        """Ask the store and read the files again and again; cancelled at the end."""
        while True:
            await self.ask()
            await asyncio.sleep(_ASK_EVERY_S)

    async def ask(self) -> None:
        """Ask once."""
        ends = await asyncio.to_thread(_ends, self._certificates)
        self._certificate_ends_s = ends
        try:
            self._stored_end_s = await self._stored.next_expiry_s(self._clock.wall_s())
        except StoreUnavailableError:
            # What was known stays.
            return


def key_ends_s(settings: Settings) -> list[float]:
    """When keys of the file end, in seconds since the Unix epoch."""
    return [
        key.expires.timestamp()
        for tenant in settings.tenants.values()
        for key in tenant.keys
        if key.expires is not None and not key.disabled
    ]


def _ends(files: Sequence[Path]) -> dict[str, float]:
    """The end of each file's first certificate to expire; of one that cannot be read, the epoch.

    So a file that is missing shows as expired long ago: nobody overlooks that.
    """
    ends = {}
    for file in files:
        try:
            found = x509.load_pem_x509_certificates(file.read_bytes())
            ends[str(file)] = min(one.not_valid_after_utc.timestamp() for one in found)
        except (OSError, ValueError):
            ends[str(file)] = 0.0
    return ends
