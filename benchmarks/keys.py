"""`make bench-keys`: authentication with 1, 1,000 and 320,000 tenants on one PostgreSQL.

Each tenant has a key. What is measured is the router's own authenticator on a real database: a
warm key beside one that the configuration file declares, a cold one, and what memory is held
after every key, and many wrong ones, have been shown. "Warm" draws from all keys in memory, so each
call misses the processor's caches, as in a file with as many keys; "busy" from 1,000 of them.
"""

import argparse
import asyncio
import gc
import hashlib
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from benchmarks.report import machine
from router.authentication.authenticator import Authenticator
from router.authentication.changes import ChangeWatch
from router.config.authentication import AuthenticationSettings
from router.domain.clock import SystemClock
from router.domain.errors import AuthenticationError
from router.domain.keys import PREFIX
from router.domain.types import Caller, KnownKey
from router.identity.fetch import fetch
from router.identity.oidc import OidcVerifier
from router.policy.key_cache import KeyCache
from router.policy.keys import KeyRing
from router.store.engine import open_engine
from router.store.key_directory import SqlKeyDirectory, find_keys_query
from router.store.migrate import upgrade

_TENANTS = (1, 1_000, 320_000)
_ROUNDS = 10
_CALLS_A_ROUND = 20_000
_COLD_CALLS = 500
_BUSY = 1_000
_WRONG_KEYS = 50_000
_AT_ONCE = 500
_ADDED_BAR_US = 2.0


@dataclass(slots=True)
class Figures:
    """What was found with so many tenants; times in µs or ms as named."""

    tenants: int
    declared_us: float = 0.0
    warm_us: float = 0.0
    busy_us: float = 0.0
    cold_p50_ms: float = 0.0
    cold_p99_ms: float = 0.0
    shown_per_s: float = 0.0
    kept: int = 0
    megabytes: float = 0.0
    scans: tuple[str, ...] = ()


def main() -> int:
    """Measure and print; with --check, 1 where a bar is not met."""
    parser = argparse.ArgumentParser("make bench-keys", description="Measure authentication.")
    parser.add_argument("--check", action="store_true", help="exit 1 where a bar is not met")
    options = parser.parse_args()
    results = []
    with _postgres() as url:
        for tenants in _TENANTS:
            print(f"{tenants:,} tenants …", file=sys.stderr)
            results.append(uvloop.run(_measure(url, tenants)))
    _print(results, Console(width=None if sys.stdout.isatty() else 140))
    missed = [name for name, is_met in _bars(results) if not is_met]
    return 1 if options.check and missed else 0


@contextmanager
def _postgres() -> Iterator[str]:
    with warnings.catch_warnings():
        # Where no desktop session has set XDG_RUNTIME_DIR, it says so while it is imported.
        warnings.simplefilter("ignore")
        from pgserver.postgres_server import get_server  # noqa: PLC0415 - only here is it needed
    with tempfile.TemporaryDirectory(prefix="embedway-bench-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


async def _measure(url: str, tenants: int) -> Figures:
    figures = Figures(tenants)
    engine = open_engine(url)
    upgrade(engine)
    _fill(url, tenants)
    figures.scans = _scans(engine, tenants)
    secrets = [_header(number) for number in range(tenants)]
    random.Random(0).shuffle(secrets)
    settings, clock = AuthenticationSettings(), SystemClock()
    directory = SqlKeyDirectory(engine)
    cache = KeyCache(settings.max_known_keys, settings.max_unknown_keys)
    watch = ChangeWatch(directory, cache, clock, settings.max_staleness_s, lambda _: None)
    declared = _declared(min(tenants, settings.max_known_keys))
    tokens = OidcVerifier({}, fetch, clock)
    authenticator = Authenticator(declared, cache, directory, watch, tokens, clock)
    await authenticator.start()
    await _measure_cold(figures, authenticator, cache, secrets)
    await _measure_memory(figures, authenticator, cache, secrets)
    _measure_warm(figures, authenticator, secrets[-settings.max_known_keys :])
    await authenticator.close()
    directory.close()
    engine.dispose()
    return figures


async def _measure_cold(
    figures: Figures, authenticator: Authenticator, cache: KeyCache, secrets: list[bytes]
) -> None:
    """One at a time, as a lone client meets it."""
    times_ms = []
    for number in range(_COLD_CALLS):
        start = time.perf_counter()
        await authenticator.find(secrets[number % len(secrets)])
        times_ms.append((time.perf_counter() - start) * 1000)
    times_ms.sort()
    figures.cold_p50_ms = statistics.median(times_ms)
    figures.cold_p99_ms = times_ms[int(len(times_ms) * 0.99)]
    cache.forget_all()


async def _measure_memory(
    figures: Figures, authenticator: Authenticator, cache: KeyCache, secrets: list[bytes]
) -> None:
    """Wrong keys first, then every good one, many at once."""
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    await _show(authenticator, [_header(-number - 1) for number in range(_WRONG_KEYS)])
    start = time.perf_counter()
    await _show(authenticator, secrets)
    figures.shown_per_s = len(secrets) / (time.perf_counter() - start)
    gc.collect()
    figures.kept = len(cache)
    figures.megabytes = (process.memory_info().rss - before) / 1e6


def _measure_warm(figures: Figures, authenticator: Authenticator, secrets: list[bytes]) -> None:
    """Medians of interleaved rounds."""
    chance = random.Random(1)
    declared = [_declared_header(number) for number in range(len(secrets))]
    contenders = {
        name: chance.choices(headers, k=_CALLS_A_ROUND)
        for name, headers in (("file", declared), ("warm", secrets), ("busy", secrets[:_BUSY]))
    }
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_ROUNDS):
        for name, shown in contenders.items():
            start = time.perf_counter()
            for header in shown:
                authenticator.known(header)
            rounds[name].append((time.perf_counter() - start) / len(shown) * 1e6)
    figures.declared_us = statistics.median(rounds["file"])
    figures.warm_us = statistics.median(rounds["warm"])
    figures.busy_us = statistics.median(rounds["busy"])


async def _show(authenticator: Authenticator, secrets: Sequence[bytes]) -> None:
    """Show every key once, many clients at a time; wrong ones are refused."""

    async def one(shown: bytes) -> None:
        try:
            if authenticator.known(shown) is None:
                await authenticator.find(shown)
        except AuthenticationError:
            return

    for start in range(0, len(secrets), _AT_ONCE):
        await asyncio.gather(*map(one, secrets[start : start + _AT_ONCE]))


def _secret(number: int) -> str:
    return PREFIX + hashlib.sha256(b"bench %d" % number).hexdigest()[:43]


def _header(number: int) -> bytes:
    return f"Bearer {_secret(number)}".encode()


def _declared_header(number: int) -> bytes:
    return b"Bearer declared-key-of-the-configuration-%06d" % number


def _declared(count: int) -> KeyRing:
    keys = {
        hashlib.sha256(_declared_header(number).split()[1]).hexdigest(): KnownKey(
            Caller("filed", f"key-{number}")
        )
        for number in range(count)
    }
    return KeyRing(keys, {"filed": True})


def _fill(url: str, tenants: int) -> None:
    """Make the tables hold so many tenants with one key each, by COPY."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE tenants, keys")
        columns = "name, source, created_s, changed_s"
        with cursor.copy(f"COPY tenants ({columns}) FROM STDIN") as copy:
            for number in range(tenants):
                copy.write_row((f"tenant-{number}", "api", 0.0, 0.0))
        columns = "id, tenant, name, sha256, scopes, source, created_s, changed_s"
        with cursor.copy(f"COPY keys ({columns}) FROM STDIN") as copy:
            for number in range(tenants):
                sha256 = hashlib.sha256(_secret(number).encode()).hexdigest()
                tenant, name = f"tenant-{number}", "first"
                copy.write_row(
                    (f"{number:032x}", tenant, name, sha256, '["embed"]', "api", 0.0, 0.0)
                )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE tenants, keys")


def _scans(engine: Engine, tenants: int) -> tuple[str, ...]:
    """How PostgreSQL reads each table for one cold key."""
    digest = hashlib.sha256(_secret(tenants - 1).encode()).digest()
    text = find_keys_query([digest]).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN {text}").scalars().all()
    return tuple(line.replace("->", "").split("(")[0].strip() for line in plan if "Scan" in line)


def _bars(results: list[Figures]) -> list[tuple[str, bool]]:
    one, most = results[0], results[-1]
    settings = AuthenticationSettings()
    limit = settings.max_known_keys + settings.max_unknown_keys
    shown = most.tenants + _WRONG_KEYS
    added_us, grown_us = most.warm_us - most.declared_us, most.busy_us - one.busy_us
    is_indexed = len(most.scans) == 2 and all("Index Scan" in scan for scan in most.scans)
    return [
        (f"a warm key of the store to one of the file: {added_us:+.2f} µs (at most 2)",
         added_us <= _ADDED_BAR_US),
        (f"{most.tenants:,} tenants to one: {grown_us:+.2f} µs (at most 2)",
         grown_us <= _ADDED_BAR_US),
        (f"answers in memory after {shown:,} keys: {most.kept:,} (at most {limit:,})",
         most.kept <= limit),
        (f"a cold key is one query: {' + '.join(most.scans)}", is_indexed),
    ]  # fmt: skip


def _print(results: list[Figures], console: Console) -> None:
    console.print(f"Authentication on one core, {machine()}", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for name in (
        "tenants", "file\nµs", "warm\nµs", "busy\nµs", "cold\np50 ms", "p99\nms",
        "cold keys\n/s", "kept", "MB",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in results:
        table.add_row(
            f"{row.tenants:,}", f"{row.declared_us:.2f}", f"{row.warm_us:.2f}",
            f"{row.busy_us:.2f}",
            f"{row.cold_p50_ms:.2f}", f"{row.cold_p99_ms:.2f}", f"{row.shown_per_s:,.0f}",
            f"{row.kept:,}", f"{row.megabytes:.1f}",
        )  # fmt: skip
    console.print(table)
    for name, is_met in _bars(results):
        console.print(f"{name}: {'met' if is_met else 'NOT MET'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
