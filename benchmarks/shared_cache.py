"""`make bench-cache`: what a look-up costs in memory, in a Redis, in one that is gone, and in none.

In one process, without doors: an input goes through the sharing of `router/dispatch` and either is
found or gets a vector that costs nothing to compute. Contenders are interleaved, medians printed.
A Redis is started from PATH, or from Debian's packages.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.processes import free_port
from router.cache.redis_store import RedisStore
from router.config.environment import process_environment
from router.dispatch.shared_tier import SharedTier, TierSettings
from router.dispatch.sharing import Done, Sharing
from router.domain.clock import SystemClock
from router.domain.types import Float32Array, Space, TokenBatch
from router.up.cache import cache_folder
from router.vectors.memory import VectorMemory

_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
_DIMENSIONS = 2560
_SPACE = Space("bench", "bench", _DIMENSIONS, 4096, revision="1")
_ROW = np.full(_DIMENSIONS, 1 / np.sqrt(_DIMENSIONS), np.float32)
_PARTS = Path(__file__).parents[1] / "deploy" / "parts.sh"

Ask = Callable[[], Awaitable[None]]


@dataclass
class _Row:
    name: str
    ask: Ask
    times_us: list[float] = field(default_factory=list)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser("make bench-cache", description="Measure look-ups.")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--url", help="a Redis that runs; its keys named embedway-bench:… are used")
    options = parser.parse_args()
    uvloop.run(_measure(options.rounds, options.url))
    return 0


async def _measure(rounds: int, url: str | None) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(_redis()) if url is None else url
        tier = await stack.enter_async_context(_tier(address))
        gone = await stack.enter_async_context(_tier("redis://127.0.0.1:1/0"))
        for count in (1, 32):
            rows = await _rows(count, tier, gone)
            for _ in range(rounds):
                for row in rows:
                    began_s = time.perf_counter()
                    await row.ask()
                    row.times_us.append((time.perf_counter() - began_s) * 1e6)
                    await _settled(tier)
            _print(console, count, rows)


async def _rows(count: int, tier: SharedTier, gone: SharedTier) -> list[_Row]:
    known = _batch(count, 1)
    near, none = Sharing(VectorMemory(10**9)), Sharing(VectorMemory(0))
    far, dead = Sharing(VectorMemory(0), tier), Sharing(VectorMemory(0), gone)
    await near.embed(_SPACE, known, _compute)
    await far.embed(_SPACE, known, _compute)
    await _settled(tier)
    hits, fresh = tier.counts.hits, 1000

    async def missed() -> None:
        nonlocal fresh
        fresh += count
        await far.embed(_SPACE, _batch(count, fresh), _compute)

    async def found() -> None:
        await far.embed(_SPACE, known, _compute)

    await found()
    assert tier.counts.hits == hits + count
    return [
        _Row("found in memory", lambda: _ask(near, known)),
        _Row("no shared tier, computed for nothing", lambda: _ask(none, known)),
        _Row("shared tier gone, computed for nothing", lambda: _ask(dead, known)),
        _Row("found in Redis", found),
        _Row("not in Redis, computed for nothing, written after", missed),
    ]


async def _settled(tier: SharedTier) -> None:
    """What was kept is written: it shall not disturb what is measured next."""
    written = tier.counts.written + tier.waiting_bytes // (4 * _DIMENSIONS)
    while tier.counts.written < written:  # noqa: ASYNC110 - the writer tells nobody
        await asyncio.sleep(0.001)


async def _ask(sharing: Sharing, batch: TokenBatch) -> None:
    await sharing.embed(_SPACE, batch, _compute)


async def _compute(part: TokenBatch, done: Done) -> None:
    vectors: Float32Array = np.broadcast_to(_ROW, (part.count, _DIMENSIONS))
    done(0, vectors, "target")


def _batch(count: int, start: int) -> TokenBatch:
    lengths = np.full(count, 64, np.int32)
    ids = np.repeat(np.arange(start, start + count, dtype=np.int32), 64)
    return TokenBatch(ids, lengths)


@contextlib.asynccontextmanager
async def _tier(url: str) -> AsyncIterator[SharedTier]:
    settings = TierSettings("embedway-bench", b"", 60.0, 0.5, 2**28)
    heard = asyncio.Event()
    tier = SharedTier(
        RedisStore(url), settings, SystemClock(), lambda *event: heard.set(),
    )  # fmt: skip
    tier.serve({"target": "bench"}, bool)
    await heard.wait()
    yield tier
    await tier.close()


@contextlib.asynccontextmanager
async def _redis() -> AsyncIterator[str]:
    port = free_port()
    program, environment = await asyncio.to_thread(_program)
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            program, "--port", str(port), "--bind", "127.0.0.1", "--save", "",
            cwd=folder, env=environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await asyncio.sleep(1.0)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            await process.wait()


def _program() -> tuple[str, dict[str, str]]:
    environment = dict(process_environment())
    if found := shutil.which("redis-server"):
        return found, environment
    folder = cache_folder(environment) / "parts"
    subprocess.run(["sh", str(_PARTS), str(folder), *_PACKAGES], check=True)
    places = [str(place) for place in (folder / "usr" / "lib").glob("*-linux-gnu")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(places)
    return str(folder / "usr" / "bin" / "redis-server"), environment


def _print(console: Console, count: int, rows: list[_Row]) -> None:
    table = Table(title=f"{count} x {_DIMENSIONS}", box=None, title_justify="left")
    for title in ("", "p50, µs", "p99, µs"):
        table.add_column(title, justify="right" if title else "left")
    for row in rows:
        cuts = statistics.quantiles(row.times_us, n=100)
        table.add_row(row.name, f"{cuts[49]:,.0f}", f"{cuts[98]:,.0f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
