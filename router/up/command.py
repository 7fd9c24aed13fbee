"""`embedway up`: from nothing to a first vector, and back to nothing."""

import contextlib
from collections.abc import Mapping

from router.domain.clock import Clock
from router.up.interrupts import Interrupts, finish_unless
from router.up.launch import Launch, UpOptions

__all__ = ["UpOptions", "up"]


async def up(options: UpOptions, environment: Mapping[str, str], clock: Clock) -> None:
    """Start everything, demonstrate it, serve until SIGINT or SIGTERM, and leave nothing behind.

    Raises EmbedwayError with one sentence where the start is not to be.
    """
    interrupts = Interrupts()
    with interrupts.caught():
        async with contextlib.AsyncExitStack() as ends:
            launch = Launch(options, environment, clock, interrupts, ends)
            await finish_unless(launch.run(), interrupts.first)
