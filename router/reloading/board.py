"""Where each worker writes what it serves, so that any of them can speak for all."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from router.domain.serving import Served, ServedByAll, TargetReport, WorkerPlace

# From good to bad: of a target that workers see differently the worst is told.
_STANDINGS = ("verified", "unverified", "quarantined")
_LAST_GOOD = "last-good.yaml"


class Board:
    """The reports of all workers, one small file each; a router without workers needs no file."""

    def __init__(self, place: WorkerPlace | None) -> None:
        self._place = place
        self._written: bytes | None = None

    def publish(self, served: Served) -> None:
        """Tell the others what this worker serves."""
        if self._place is None:
            return
        data = orjson.dumps(asdict(served))
        if data != self._written:
            _put(report_path(self._place.folder, self._place.index), data)
            self._written = data

    def of_all(self, own: Served, on_disk: str | None) -> ServedByAll:
        """What all of them serve; `on_disk` is the hash of the file as it lies there now.

        Where they differ, the one is told that has not got that far: a hash is only ever told as
        served when no worker answers by another one.
        """
        reports = [own, *self._others()]
        behind = next((one for one in reports if one.hash != on_disk), None)
        told = own if behind is None or len({one.hash for one in reports}) == 1 else behind
        errors = (one.pending_error for one in reports if one.pending_error is not None)
        served = replace(told, pending_error=next(errors, None), targets=_worst(reports))
        workers = 1 if self._place is None else self._place.count
        return ServedByAll(served, len(reports), workers)

    def remember(self, data: bytes) -> None:
        """Keep a configuration that is served, for a worker that starts while the file is bad."""
        if self._place is not None:
            _put(self._place.folder / _LAST_GOOD, data)

    def last_good(self) -> bytes | None:
        """The configuration that was served last by any worker."""
        if self._place is None:
            return None
        return _get(self._place.folder / _LAST_GOOD)

    def _others(self) -> list[Served]:
        place = self._place
        if place is None:
            return []
        found = (
            _get(report_path(place.folder, index))
            for index in range(place.count)
            if index != place.index
        )
        return [_served(data) for data in found if data is not None]


def report_path(folder: Path, index: int) -> Path:
    """Where a worker's report lies; it is there from when the worker serves until it ends."""
    return folder / f"worker-{index}.json"


def _worst(reports: Sequence[Served]) -> dict[str, TargetReport]:
    """Each target, as the worker that thinks least of it sees it."""
    found: dict[str, TargetReport] = {}
    for name, report in _all_targets(reports):
        known = found.get(name)
        found[name] = report if known is None else _worse(known, report)
    return found


def _all_targets(reports: Sequence[Served]) -> Iterable[tuple[str, TargetReport]]:
    for served in reports:
        yield from served.targets.items()


def _worse(one: TargetReport, other: TargetReport) -> TargetReport:
    """The worse standing; up, and measured, only where both workers say so."""
    worse = max(one, other, key=_badness)
    return replace(worse, up=one.up and other.up, measured=one.measured and other.measured)


def _badness(report: TargetReport) -> int:
    return _STANDINGS.index(report.standing)


def _served(data: bytes) -> Served:
    fields = orjson.loads(data)
    targets = {name: TargetReport(**one) for name, one in fields.pop("targets").items()}
    return Served(**fields, targets=targets)


def _put(path: Path, data: bytes) -> None:
    """Whoever reads finds the old file or the new one, never a part."""
    new = path.with_suffix(f".{id(data):x}.new")
    new.write_bytes(data)
    new.replace(path)


def _get(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
