"""Two routers behind a balancer, two Tritons behind the routers, and every way to restart them."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.processes import free_port
from benchmarks.rolling.balancer import Balancer
from benchmarks.rolling.load import Load
from router.domain.keys import fingerprint
from router.up.triton_process import TritonProcess

KEY = "ew-key-of-the-rolling-restart-0123"
MODEL = "all_minilm_l6_v2"
# Endpoints are told this late; routers go on serving for longer than that and a probe's interval.
PROPAGATION_S = 1.0
DRAIN_DELAY_S = 4.0
_READY_S = 60.0
_BETWEEN_S = 1.0
_LOOK_S = 0.1


@dataclass(slots=True)
class Router:
    """A router in a process of its own, on the same port after a restart."""

    config: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its readiness says when it is there."""
        command = [sys.executable, "-m", "router", "serve", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)

    async def stop(self) -> int:
        """End it as Kubernetes does; the exit status."""
        assert self.process is not None
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 60)


@dataclass(slots=True)
class Scene:
    """Everything that runs, and what was seen while it was restarted."""

    routers: list[Router]
    tritons: list[TritonProcess]
    balancer: Balancer
    statuses: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://127.0.0.1:{self.balancer.port}"

    async def restart_router(self, index: int) -> None:
        """SIGTERM, and a new one when it has ended: a rolling update of a Deployment."""
        router = self.routers[index]
        self.statuses.append(await router.stop())
        router.start()
        async with asyncio.timeout(_READY_S):
            await self.balancer.wait_for(router.port)
        await self.seen()
        await asyncio.sleep(_BETWEEN_S)

    async def restart_triton(self, index: int) -> None:
        """SIGTERM while requests still come: it unloads its models under them."""
        await self.tritons[index].stop()
        await self._bring_back(index)

    async def kill_triton(self, index: int) -> None:
        """SIGKILL: what is under way there is lost with it."""
        os.killpg(self.tritons[index].process_id, signal.SIGKILL)
        await self.tritons[index].wait_ended()
        await self._bring_back(index)

    async def _bring_back(self, index: int) -> None:
        self.tritons[index].start()
        await self.tritons[index].wait_ready([MODEL], _READY_S)
        # Until the routers have seen it: their watch looks every half second.
        await asyncio.sleep(_BETWEEN_S * 2)
        await self.seen()

    async def seen(self) -> None:
        """Return once every router that listens has found every Triton ready."""
        async with asyncio.timeout(_READY_S):
            for router in self.routers:
                # Asked again and again, as an operator asks: a router tells nobody by itself.
                while not await asyncio.to_thread(  # noqa: ASYNC110
                    _are_up, router.port, len(self.tritons)
                ):
                    await asyncio.sleep(_LOOK_S)

    async def all(self, tell: Callable[[str], None]) -> None:
        """Every restart, one after another."""
        for index in range(len(self.routers)):
            tell(f"router {index}: SIGTERM and restart")
            await self.restart_router(index)
        for index in range(len(self.tritons)):
            tell(f"Triton {index}: SIGTERM and restart")
            await self.restart_triton(index)
        tell("Triton 0: kill -9 and restart")
        await self.kill_triton(0)


@contextlib.asynccontextmanager
async def scene(
    folder: Path, tokenizer: Path, tritons: list[TritonProcess]
) -> AsyncIterator[Scene]:
    """Routers before Tritons that run already; all of it ended afterwards, but the Tritons."""
    ports = [free_port(), free_port()]
    routers = [_router(folder, port, tokenizer, tritons) for port in ports]
    balancer = Balancer(ports, PROPAGATION_S)
    await balancer.start()
    try:
        for router in routers:
            router.start()
        async with asyncio.timeout(_READY_S):
            for port in ports:
                await balancer.wait_for(port)
        made = Scene(routers, tritons, balancer)
        await made.seen()
        yield made
    finally:
        await balancer.close()
        for router in routers:
            if router.process is not None:
                router.process.kill()
                router.process.wait()


async def under_load(stage: Scene, concurrency: int, tell: Callable[[str], None]) -> Load:
    """Restart everything under load; what the clients saw."""
    load = Load(stage.url, KEY, MODEL)
    await load.learn()
    clients = asyncio.create_task(load.run(concurrency))
    try:
        await asyncio.sleep(_BETWEEN_S)
        await stage.all(tell)
        await asyncio.sleep(_BETWEEN_S)
    finally:
        load.stop()
        await clients
    return load


def _are_up(port: int, count: int) -> bool:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as one:
        try:
            one.request("GET", "/health/configuration")
            targets = json.load(one.getresponse())["targets"]
        except (OSError, http.client.HTTPException):
            return False
    return len(targets) == count and all(target["up"] for target in targets.values())


def _router(folder: Path, port: int, tokenizer: Path, tritons: list[TritonProcess]) -> Router:
    targets = {
        f"triton-{index}": {
            "space": "minilm",
            "upstream": "triton",
            "url": f"grpc://127.0.0.1:{triton.ports.grpc}",
            "model": MODEL,
        }
        for index, triton in enumerate(tritons)
    }
    space = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "dimensions": 384,
        "max_tokens": 256,
        "tokenizer": str(tokenizer),
    }
    settings = {
        "server": {
            "port": port,
            "grpc_port": None,
            "log_requests": False,
            "drain_delay_s": DRAIN_DELAY_S,
            "drain_timeout_s": 10,
        },
        "spaces": {"minilm": space},
        "targets": targets,
        "routes": {MODEL: {"targets": list(targets), "strategy": "fastest"}},
        "tenants": {"load": {"keys": [{"name": "load", "sha256": fingerprint(KEY)}]}},
        # Every request goes to a Triton.
        "cache": {"max_bytes": 0, "share_in_flight": False},
        "store": {
            "url": f"sqlite:///{folder}/{port}.db",
            "state": str(folder / f"state-{port}"),
        },
    }
    config = folder / f"router-{port}.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Router(config, port, folder / f"router-{port}.log")
