"""Turns of a router that traces and does not trace, and what they say of the cost of traces."""

import itertools
import statistics
from dataclasses import dataclass
from pathlib import Path

import orjson

# A turn without load says nothing.
_LEAST_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of a router's time: whether it traced every request or none, CPU, requests."""

    is_traced: bool
    cpu_s: float
    requests: int

    @property
    def request_us(self) -> float:
        """CPU of a request in microseconds."""
        return self.cpu_s / self.requests * 1e6


@dataclass(frozen=True, slots=True)
class Pair:
    """A turn without traces and the one with them that followed it."""

    untraced: Turn
    traced: Turn

    @property
    def ratio(self) -> float:
        """CPU of a traced request over that of an untraced one."""
        return self.traced.request_us / self.untraced.request_us


class Figures:
    """The file that a router writes its turns to, while it does."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._read = 0

    def pairs(self) -> list[Pair]:
        """Pairs that have been written since the last call; the first turn may be half idle."""
        lines = self._path.read_bytes().splitlines()
        turns = [Turn(*orjson.loads(line)) for line in lines[self._read :]][1:]
        self._read = len(lines)
        return [
            Pair(one, other)
            for one, other in itertools.pairwise(turns)
            if not one.is_traced and min(one.requests, other.requests) >= _LEAST_REQUESTS
        ]


def typical(pairs: list[Pair]) -> tuple[float, float, float]:
    """Medians: CPU of a request without traces and with them, in microseconds, and their ratio."""
    return (
        statistics.median(pair.untraced.request_us for pair in pairs),
        statistics.median(pair.traced.request_us for pair in pairs),
        statistics.median(pair.ratio for pair in pairs),
    )
