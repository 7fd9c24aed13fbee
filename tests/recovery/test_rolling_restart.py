"""Routers and Tritons restarted one after another under load, as a rolling update does."""

import contextlib
from pathlib import Path

import pytest

from benchmarks.rolling.scene import MODEL, scene, under_load
from tests.support.triton import running_triton

CONCURRENCY = 16


@pytest.mark.timeout(500)
async def test_a_rolling_restart_goes_unnoticed(minilm: Path, tmp_path: Path) -> None:
    """Two routers and two Tritons, each ended and started again: no request fails, none is wrong.

    Clients are spread by readiness that is told a second late; one Triton is killed as well.
    """
    weights = {MODEL: (minilm, MODEL)}
    async with contextlib.AsyncExitStack() as stack:
        running = [await stack.enter_async_context(running_triton(weights)) for _ in range(2)]
        tritons = [one.process for one in running]
        stage = await stack.enter_async_context(scene(tmp_path, minilm, tritons))
        load = await under_load(stage, CONCURRENCY, lambda step: None)
        assert dict(load.failed) == {}
        assert load.wrong == 0
        assert load.answers > 500
        assert set(load.targets) == {"triton-0", "triton-1"}
        assert stage.statuses == [0, 0]
