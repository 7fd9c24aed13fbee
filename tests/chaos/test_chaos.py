"""A small `make chaos`: a real router process, real sockets, providers that fail under load."""

import argparse
from pathlib import Path

import pytest

from benchmarks.chaos.run import _run
from benchmarks.chaos.scene import CALM, KILL, PHASES


@pytest.mark.timeout(110)
async def test_failing_providers_are_not_seen_by_callers(tmp_path: Path) -> None:
    """No vector is wrong, no request lost, each target comes back, little is asked twice."""
    phases = [CALM, KILL, "429 with Retry-After", "rows shifted", "another model"]
    options = argparse.Namespace(only=phases, seconds=1.0, concurrency=16, seed=7)
    results, calls = await _run(options, tmp_path)
    assert [one.name for one in results] == phases
    for one in results:
        assert one.tally.requests > 20, one.name
        assert one.tally.wrong == 0, one.name
        assert not one.tally.lost, one.name
        assert one.is_clean, one.name
    assert calls["retries"] <= 0.2 * calls["first_calls"]


def test_every_fault_of_the_promise_has_its_phase() -> None:
    """What the run is said to do, it does."""
    assert {
        "killed", "hang", "reset mid-body", "429 with Retry-After", "500 burst", "slow trickle",
        "truncated JSON", "vector missing", "index duplicated", "one vector for all",
        "order reversed", "rows shifted", "NaN", "wrong dimension", "another model",
    } <= set(PHASES)  # fmt: skip
