"""Figures of the process itself and of the configuration that it serves."""

import os
import platform
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from router import __version__
from router.telemetry import metric_names as names
from router.telemetry.board import Board

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class ConfigurationFacts:
    """Which configuration is served; `hash` is of the file's bytes, empty where there is none."""

    generation: int
    hash: str = ""
    pending_error: str | None = None


class ProcessObserver:
    """Looks at the process."""

    def __init__(
        self, configuration: Callable[[], ConfigurationFacts], monotonic_s: Callable[[], float]
    ) -> None:
        self._configuration = configuration
        self._monotonic_s = monotonic_s
        self._lag_s = 0.0

    def late(self, seconds: float) -> None:
        """The event loop came so much later than it was asked to."""
        self._lag_s = max(seconds, self._lag_s * 0.8)

    def look(self, board: Board) -> None:
        """Tell everything."""
        facts = self._configuration()
        board.tell(names.GENERATION, facts.generation)
        if facts.hash:
            board.tell(names.CONFIGURATION, 1.0, facts.hash)
        board.tell(names.PENDING_ERROR, facts.pending_error is not None)
        board.tell(names.BUILD, 1.0, __version__, platform.python_version())
        board.tell(names.WORKERS, 1.0)
        board.tell(names.LOOP_LAG, self._lag_s)
        used = resource.getrusage(resource.RUSAGE_SELF)
        board.follow(names.CPU_TIME, used.ru_utime + used.ru_stime)
        board.tell(names.MEMORY, _resident_bytes())


def _resident_bytes() -> float:
    pages = int(_STATM.read_text(encoding="ascii").split()[1]) if _STATM.exists() else 0
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
