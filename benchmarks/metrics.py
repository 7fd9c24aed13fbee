"""`make bench-metrics`: what counting costs a request, by itself and beside a whole request.

A router answers in this process, from a fake target and without sockets. Rounds with its meters and
with ones that do nothing are interleaved, and CPU time is taken: a noisy machine disturbs the ratio
less so. The page of `/metrics` is timed too, with the series of a large configuration.
"""

import argparse
import asyncio
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.report import machine
from benchmarks.router import _tokenizer_folder
from router.app import App
from router.config.load import parse_settings
from router.domain.clock import SystemClock
from router.domain.journal import Attempt
from router.domain.keys import fingerprint
from router.domain.serving import WorkerPlace
from router.domain.usage import Receipt
from router.telemetry.logs import Log
from router.telemetry.meters import Meters

_KEY = "ew-key-of-the-benchmark-0123456789"
_BAR_US = 15.0
_BAR_RATIO = 1.05
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/embeddings",
    "query_string": b"",
    "headers": [
        (b"authorization", f"Bearer {_KEY}".encode()),
        (b"traceparent", f"00-{_TRACE}-00f067aa0ba902b7-01".encode()),
    ],
}
_BODY = json.dumps({"model": "m", "input": "a short query about cats"}).encode()


class Silent:
    """Meters that count nothing."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *arguments: None


async def _request(front: Any) -> None:  # noqa: ANN401 - an ASGI application
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": _BODY, "more_body": False}

    async def send(message: Any) -> None:  # noqa: ANN401
        del message

    await front(dict(_SCOPE), receive, send)


def _count(meters: Meters) -> None:
    """Everything that one answered request reports."""
    attempts = [Attempt("t", "ok", 1.5, 1, 8)]
    meters.attempted(attempts, _TRACE)
    meters.embedded("m", "bench", 8, 0, Receipt(cost_nano_usd=80))
    meters.http("POST", "/v1/embeddings", 200, 0.002, "", _TRACE)
    meters.request("m", "bench", "ok", 0.002, _TRACE)


def _settings(tokenizer: Path, folder: Path) -> str:
    space = {"model": "m", "dimensions": 384, "max_tokens": 256, "tokenizer": str(tokenizer)}
    target = {"space": "s", "upstream": "fake", "price_usd_per_million_tokens": 0.01}
    return yaml.safe_dump(
        {
            "server": {"port": 0, "grpc_port": None, "log_requests": False},
            "spaces": {"s": space | {"verification": {"enabled": False}}},
            "targets": {"t": target},
            "routes": {"m": {"targets": ["t"]}},
            "cache": {"max_bytes": 0, "share_in_flight": False},
            "store": {"url": f"sqlite:///{folder}/b.db", "state": f"{folder}/state"},
            "tenants": {"bench": {"keys": [{"name": "k", "sha256": fingerprint(_KEY)}]}},
        }
    )


async def _measure(options: argparse.Namespace, tokenizer: Path, folder: Path) -> dict[str, float]:
    clock = SystemClock()
    settings = parse_settings(_settings(tokenizer, folder), origin="bench")
    # Files, as workers have them: the dearer of both kinds.
    place = WorkerPlace(0, 1, folder / "workers", 0, None)
    place.folder.mkdir()
    app = App(settings, {}, clock, Log(clock, io.BytesIO()), worker=place)
    await app.start()
    front, service, meters = app._edition.front, app.service, app.metrics.meters  # noqa: SLF001
    silent: Any = Silent()
    times: dict[str, list[float]] = {"with": [], "without": []}
    counting = []
    for _ in range(options.rounds):
        for name, chosen in (("with", meters), ("without", silent)):
            front._meters = service._reports = chosen  # noqa: SLF001
            begun_s = time.thread_time()
            for _ in range(options.requests):
                await _request(front)
            times[name].append((time.thread_time() - begun_s) / options.requests * 1e6)
        begun_s = time.thread_time()
        for _ in range(options.requests):
            _count(meters)
        counting.append((time.thread_time() - begun_s) / options.requests * 1e6)
    for number in range(options.series // 20):
        meters.request("m", "bench", f"outcome-{number}", 0.001, "")
        meters._operation.of("embeddings", "p", "m", str(number), "").observe(0.01)  # noqa: SLF001
    begun_s = time.thread_time()
    page = app.metrics.text(open_metrics=True)
    page_ms = (time.thread_time() - begun_s) * 1e3
    await app.stop(0)
    ratios = [on / off for on, off in zip(times["with"], times["without"], strict=True)]
    return {
        "counting_us": statistics.median(counting),
        "with_us": statistics.median(times["with"]),
        "without_us": statistics.median(times["without"]),
        "ratio": statistics.median(ratios),
        "page_ms": page_ms,
        "page_lines": page.count(b"\n"),
    }


def main() -> int:
    """Measure and print; with --check, 1 where a bar is not met."""
    parser = argparse.ArgumentParser("make bench-metrics", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=300, help="of each kind in a round")
    parser.add_argument("--series", type=int, default=20_000, help="lines of the page, about")
    parser.add_argument("--check", action="store_true", help="exit 1 where a bar is not met")
    options = parser.parse_args()
    tokenizer = asyncio.run(_tokenizer_folder())
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(_measure(options, tokenizer, Path(folder)))
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(machine())
    table = Table(box=box.SIMPLE)
    for title in ("", "median"):
        table.add_column(title)
    rows = {
        "everything that a request reports": f"{found['counting_us']:.1f} µs",
        "a whole request, counted": f"{found['with_us']:.0f} µs",
        "a whole request, not counted": f"{found['without_us']:.0f} µs",
        "their ratio": f"{found['ratio']:.3f}",
        f"a page of {found['page_lines']:.0f} lines": f"{found['page_ms']:.0f} ms",
    }
    for row in rows.items():
        table.add_row(*row)
    console.print(table)
    is_met = found["counting_us"] <= _BAR_US and found["ratio"] <= _BAR_RATIO
    return 1 if options.check and not is_met else 0


if __name__ == "__main__":
    sys.exit(main())
