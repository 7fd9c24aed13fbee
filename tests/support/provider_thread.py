"""Local providers on a thread of their own, for tests that block."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from benchmarks.chaos.local_provider import LocalProvider


@contextlib.contextmanager
def providers(*kinds: str, dimensions: int = 384) -> Iterator[list[LocalProvider]]:
    """One of each kind, listening until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = [LocalProvider(kind, dimensions) for kind in kinds]
    try:
        for one in made:
            asyncio.run_coroutine_threadsafe(one.start(), loop).result(60)
        yield made
    finally:
        for one in made:
            asyncio.run_coroutine_threadsafe(one.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
