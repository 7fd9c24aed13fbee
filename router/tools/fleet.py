"""A fleet for the time of one command; it logs nothing, since the command prints what it finds."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from router.config.domain_of import spaces_of
from router.config.settings import Settings
from router.domain.clock import Clock
from router.fleet import Fleet, tokenizers_of
from router.telemetry.logs import Log


@asynccontextmanager
async def standing_fleet(
    settings: Settings, environment: Mapping[str, str], clock: Clock
) -> AsyncIterator[Fleet]:
    """Every target can be called, none is watched; closed at the end of the block."""
    log = Log(clock, io.BytesIO())
    fleet = Fleet(settings, environment, spaces_of(settings), tokenizers_of(settings), clock, log)
    try:
        yield fleet
    finally:
        await fleet.close()
