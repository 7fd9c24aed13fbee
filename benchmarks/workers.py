"""`make bench-workers`: one worker against two, on all cores, before a stub target.

Rounds are interleaved. Load and stub share the machine with the router, so two workers can show
less than twice the rate even where they could do it: the number of cores is printed beside.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path

import uvloop
import yaml
from rich.console import Console

from benchmarks.cells import SHAPES
from benchmarks.load import Sample
from benchmarks.processes import free_port, running
from benchmarks.router import _config, _through, _tokenizer_folder, _wait_ready

_CONCURRENCY = 32


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser("make bench-workers", description="One worker against two.")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tokenizer = asyncio.run(_tokenizer_folder())
    everywhere = os.sched_getaffinity(0)
    rates: dict[int, list[float]] = {1: [], 2: []}
    triton = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(["benchmarks.stub_triton", str(triton)], triton, everywhere, Path(folder)),
    ):
        for _ in range(options.rounds):
            for workers, found in rates.items():
                found.append(_rate(workers, triton, tokenizer, Path(folder), options.seconds))
    console = Console()
    for workers, found in rates.items():
        console.print(f"{workers} worker(s): {statistics.median(found):.0f} requests/s ({found})")
    console.print(f"{len(everywhere)} cores, shared with load and stub")
    return 0


def _rate(workers: int, triton: int, tokenizer: Path, folder: Path, seconds: float) -> float:
    port = free_port()
    config = folder / f"workers-{port}.yaml"
    settings = _config(port, triton, tokenizer)
    settings["server"] = {
        "port": port,
        "grpc_port": None,
        "log_requests": False,
        "workers": workers,
    }
    settings["store"] = {
        "url": f"sqlite:///{folder}/{port}.db",
        "state": str(folder / f"state-{port}"),
    }
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = ["router", "serve", "--config", str(config)]
    with running(command, port, os.sched_getaffinity(0), folder):
        _wait_ready(port)
        return uvloop.run(_sample(port, seconds)).rate


async def _sample(port: int, seconds: float) -> Sample:
    return await _through(port, None)(SHAPES[0], _CONCURRENCY, seconds)


if __name__ == "__main__":
    raise SystemExit(main())
