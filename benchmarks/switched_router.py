"""A router that traces every request or none, as a signal says: SIGUSR1 all, SIGUSR2 none.

`python -m benchmarks.switched_router CONFIG`. Two processes of one program differ by a tenth of
their CPU time, which is as much as tracing may cost; one process does not differ from itself.
"""

import signal
import sys
from collections.abc import Mapping

from router import cli, ground
from router.domain.journal import Ending, Facts, Journal
from router.telemetry.assembly import make_tracer
from router.telemetry.spans import TargetFacts
from router.telemetry.tracer import Tracer, Untraced


class Switch:
    """The tracer that is configured, or none, for requests that begin from now on."""

    def __init__(self, traced: Tracer | Untraced) -> None:
        self._traced = traced
        self._untraced = Untraced()
        # What the router asks at a request is the chosen one's own method: no step in between.
        self.begin = self._untraced.begin
        signal.signal(signal.SIGUSR1, lambda *_: self._use(self._traced))
        signal.signal(signal.SIGUSR2, lambda *_: self._use(self._untraced))

    @property
    def dropped(self) -> int:
        """As the tracer says."""
        return self._traced.dropped

    def end(self, journal: Journal, facts: Facts, ending: Ending) -> None:
        """A request ends with who began it, also where the switch was turned meanwhile."""
        (self._traced if journal.span else self._untraced).end(journal, facts, ending)

    def declare(self, targets: Mapping[str, TargetFacts]) -> None:
        """As the tracer does."""
        self._traced.declare(targets)

    def start(self) -> None:
        """As the tracer does."""
        self._traced.start()

    async def flush(self) -> None:
        """As the tracer does."""
        await self._traced.flush()

    async def close(self) -> None:
        """As the tracer does."""
        await self._traced.close()

    def _use(self, chosen: Tracer | Untraced) -> None:
        self.begin = chosen.begin


def main() -> int:
    """Serve until ended."""
    # The router itself knows no such switch: nobody but this measurement needs one.
    ground.make_tracer = lambda *given: Switch(make_tracer(*given))  # type: ignore[assignment,attr-defined]
    return cli.main(["serve", "--config", sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())
