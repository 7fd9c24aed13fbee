"""Carries records from the spool to the ledger, in batches, behind the requests."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from router.domain.clock import Clock
from router.domain.ports import LedgerWriter, UsageSpool

PUMP_S = 0.1


class Pump:
    """One thread reads the spool and writes the ledger."""

    def __init__(
        self, spool: UsageSpool, ledger: LedgerWriter, clock: Clock, sync_interval_s: float
    ) -> None:
        """`sync_interval_s` is how often the spool is brought to the disk itself."""
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._sync_interval_s = sync_interval_s
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._read = 0
        self._written = 0
        self._records = 0
        self._synced_s = clock.monotonic_s()

    @property
    def is_done(self) -> bool:
        """Whether the ledger has all that is in the spool."""
        return self._written == self._spool.end

    @property
    def behind_bytes(self) -> int:
        """Bytes of the spool that the ledger has not seen."""
        return self._spool.end - self._written

    @property
    def behind(self) -> int:
        """Records of the spool that the ledger does not have."""
        return max(0, self._spool.recorded - self._records)

    async def tick(self) -> None:
        """Write what there is; StoreUnavailableError, and then the next tick begins there again."""
        loop = asyncio.get_running_loop()
        try:
            while not self.is_done:
                await loop.run_in_executor(self._thread, self._write_some)
                self._spool.release(self._written)
        finally:
            await loop.run_in_executor(self._thread, self._tend)

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=True)

    def _write_some(self) -> None:
        records, after = self._spool.read(self._read)
        before, start = self._written, self._read
        known = self._ledger.write(self._spool.holder, before, after, records, self._clock.wall_s())
        self._written = known
        if known == after:
            self._read = after
            self._records += len(records)
        elif start < known < after:
            # A part had been written, and its answer was lost.
            self._read = known

    def _tend(self) -> None:
        self._spool.make_spare()
        now_s = self._clock.monotonic_s()
        if now_s - self._synced_s >= self._sync_interval_s:
            self._synced_s = now_s
            self._spool.sync()
