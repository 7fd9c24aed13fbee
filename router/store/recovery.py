"""What a process that died left behind: its records go to the ledger, its unspent leases back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from router.domain.clock import Clock
from router.domain.errors import StoreUnavailableError
from router.store.frames import INTENT
from router.store.leases import LeaseBook
from router.store.ledger import Ledger
from router.store.spool_folder import SpoolFolder

_BATCH = 500
# No spool gets here: the position of one whose requests under way are in the ledger too.
_BEYOND = 2**62


@dataclass(frozen=True, slots=True)
class Recovered:
    """Records written now, requests that were under way, and whether the spool's end is certain."""

    holder: str
    records: int
    lost: int
    is_proven: bool


def recover(folder: SpoolFolder, ledger: Ledger, leases: LeaseBook, now_s: float) -> Recovered:
    """Settle a dead process's affairs, then delete its folder; StoreUnavailableError.

    A request that was under way may have been answered by its target, so it is charged in full,
    with the status `lost`. May be interrupted anywhere and begun again.
    """
    position = ledger.position(folder.holder)
    under_way: dict[int, bytes] = {}
    records: list[tuple[int, bytes]] = []
    for end, entry in folder.entries():
        if entry.kind == INTENT:
            under_way[entry.number] = entry.payload
            continue
        under_way.pop(entry.number, None)
        if end > position:
            records.append((end, entry.payload))
    for first in range(0, len(records), _BATCH):
        ends, payloads = zip(*records[first : first + _BATCH], strict=True)
        position = _write(ledger, folder.holder, (position, ends[-1]), payloads, now_s)
    if position < _BEYOND:
        lost = list(under_way.values())
        _write(ledger, folder.holder, (position, _BEYOND), lost, now_s)
    is_proven = folder.is_whole
    leases.bury(folder.holder, is_proven=is_proven)
    folder.close(remove=True)
    return Recovered(folder.holder, len(records), len(under_way), is_proven)


def recover_all(
    state: Path, ledger: Ledger, leases: LeaseBook, clock: Clock
) -> list[dict[str, str | int | bool]]:
    """Recover every abandoned folder; what was done of each. StoreUnavailableError."""
    done = []
    for folder in SpoolFolder.abandoned(state):
        try:
            done.append(asdict(recover(folder, ledger, leases, clock.wall_s())))
        except BaseException:
            folder.close(remove=False)
            raise
    return done


def _write(
    ledger: Ledger, holder: str, stretch: tuple[int, int], payloads: Sequence[bytes], now_s: float
) -> int:
    before, after = stretch
    if ledger.write(holder, before, after, payloads, now_s) != after:
        raise StoreUnavailableError("the spool was written from elsewhere: look again")
    return after
