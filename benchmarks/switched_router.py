"""A router that traces every request for a moment, then none, and notes what each moment cost.

`python -m benchmarks.switched_router CONFIG FIGURES`. Two processes of one program differ by a
tenth of their CPU time, and a second differs from the next by as much: what tracing costs, which
is less, shows in one process that is looked at in short turns.
"""

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import orjson

from router import cli, ground
from router.domain.journal import Ending, Facts, Journal
from router.telemetry.assembly import make_tracer
from router.telemetry.spans import TargetFacts
from router.telemetry.tracer import Tracer, Untraced

# A turn begins uncounted: what the one before has left is sent by then.
_UNCOUNTED_S, _COUNTED_S = 0.12, 0.25


class Switch:
    """The tracer that is configured and none, in turns; each line of the figures is a turn."""

    def __init__(self, traced: Tracer | Untraced, figures: Path) -> None:
        self._traced = traced
        self._untraced = Untraced()
        self._figures = figures
        self._chosen: Tracer | Untraced = self._untraced
        self._begun = 0
        self._turns: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        """As the tracer says."""
        return self._traced.dropped

    def begin(self, traceparent: str | None, tracestate: str | None, begun_s: float) -> Journal:
        """As whose turn it is does."""
        self._begun += 1
        return self._chosen.begin(traceparent, tracestate, begun_s)

    def end(self, journal: Journal, facts: Facts, ending: Ending) -> None:
        """A request ends with who began it, also where the turn is another's by now."""
        (self._traced if journal.span else self._untraced).end(journal, facts, ending)

    def declare(self, targets: Mapping[str, TargetFacts]) -> None:
        """As the tracer does."""
        self._traced.declare(targets)

    def start(self) -> None:
        """As the tracer does; turns begin."""
        self._traced.start()
        self._turns = asyncio.get_running_loop().create_task(self._take_turns())

    async def flush(self) -> None:
        """As the tracer does."""
        await self._traced.flush()

    async def close(self) -> None:
        """As the tracer does; turns end."""
        if self._turns is not None:
            self._turns.cancel()
        await self._traced.close()

    async def _take_turns(self) -> None:
        with self._figures.open("ab", buffering=0) as figures:
            while True:
                for is_traced in (False, True):
                    self._chosen = self._traced if is_traced else self._untraced
                    await asyncio.sleep(_UNCOUNTED_S)
                    # All threads: gRPC has some of its own.
                    cpu_s, begun = time.process_time(), self._begun
                    await asyncio.sleep(_COUNTED_S)
                    # What waits for the disk is this turn's.
                    await self._traced.flush()
                    cpu_s, begun = time.process_time() - cpu_s, self._begun - begun
                    figures.write(orjson.dumps([is_traced, cpu_s, begun]) + b"\n")


def main() -> int:
    """Serve until ended."""
    _, config, figures = sys.argv
    # The router itself knows no such switch: nobody but this measurement needs one.
    ground.make_tracer = lambda *given: Switch(make_tracer(*given), Path(figures))  # type: ignore[assignment,attr-defined]
    return cli.main(["serve", "--config", config])


if __name__ == "__main__":
    sys.exit(main())
