"""The one real Triton server that all tests of a session share."""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.alike import compute_alike_anywhere
from benchmarks.processes import free_port
from router.domain.clock import SystemClock
from router.up.assets import find_assets
from router.up.cache import LivingFolder, cache_folder
from router.up.local_triton import LocalModel, make_triton
from router.up.model_card import read_card
from router.up.models import ChosenModel
from router.up.triton_files import Ports, TritonFiles
from router.up.triton_process import TritonProcess
from router.up.wheels import TRITON, fetch

MINILM_NAME = "all_minilm_l6_v2"
QWEN3_NAME = "tiny_qwen3"
QWEN3_TEMPLATE = "qwen3_embedding_0_6b"
READY_S = 90.0


@dataclass(frozen=True, slots=True)
class SharedTriton:
    """A server and its models."""

    process: TritonProcess
    names: tuple[str, ...]

    def start(self) -> None:
        """Start it, at first or again; the main thread's event loop must be the caller's."""
        self.process.start()

    async def wait_ready(self) -> None:
        await self.process.wait_ready(self.names, READY_S)

    def stubs(self, name: str) -> list[psutil.Process]:
        """The processes of this server, and of no other, that compute one of its models."""
        children = psutil.Process(self.process.process_id).children(recursive=True)
        stubs = [one for one in children if "stub" in one.name()]
        return [one for one in stubs if name in " ".join(one.cmdline())]


def quiet_ports() -> Ports:
    """Ports that nobody takes while the server is away: it comes back at the same ones."""
    return Ports(free_port(), free_port(), free_port())


async def prepare_triton(folder: Path, weights: dict[str, tuple[Path, str]]) -> TritonProcess:
    """A server, not started, for models given as name → (weights, template)."""
    cache, environment = cache_folder(os.environ), dict(os.environ)
    files, assets = TritonFiles(await fetch(TRITON, cache, environment)), find_assets()
    models = []
    for name, (source, template) in weights.items():
        chosen = ChosenModel(name, name, assets.models / template, str(source))
        card = await read_card(assets.backend, source, environment)
        models.append(LocalModel(chosen, source, card))
    process = await make_triton(folder, files, assets, models, environment, SystemClock())
    process._ports = quiet_ports()
    for name in weights:
        compute_alike_anywhere(folder / "models" / name)
    return process


@contextlib.asynccontextmanager
async def running_triton(weights: dict[str, tuple[Path, str]]) -> AsyncIterator[SharedTriton]:
    """A ready server; ended, and its folder and shared memory removed, afterwards."""
    folder = LivingFolder(cache_folder(os.environ) / "run")
    try:
        process = await prepare_triton(folder.path, weights)
        shared = SharedTriton(process, tuple(weights))
        try:
            shared.start()
            await shared.wait_ready()
            yield shared
        finally:
            await process.stop()
    finally:
        folder.remove()
