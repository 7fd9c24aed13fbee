"""A small `make chaos`: a real router process, real sockets, providers that fail under load."""

import argparse
from pathlib import Path

from benchmarks.chaos.run import _run
from benchmarks.chaos.scene import CALM, KILL, PHASES

CALLERS = 16


async def test_failing_providers_are_not_seen_by_callers(tmp_path: Path) -> None:
    """No vector is wrong, no request lost, each target comes back, little is asked twice."""
    phases = [CALM, KILL, "429 with Retry-After", "rows shifted", "another model"]
    # A busy machine is late to see that a target is back; how soon it is, `make chaos` says.
    options = argparse.Namespace(
        only=phases, seconds=1.0, concurrency=CALLERS, seed=7, recovery_s=30.0
    )
    results, calls = await _run(options, tmp_path)
    assert [one.name for one in results] == phases
    for one in results:
        assert one.tally.requests > 20, one.name
        assert one.tally.wrong == 0, one.name
        assert not one.tally.lost, one.name
        assert one.is_clean, one.name
    # What a slow machine does not get to ask at first cannot pay for what is always asked again:
    # in every phase the two calls of each caller that are under way at the two that are struck.
    struck = 2 * 2 * CALLERS * len(phases)
    assert calls["retries"] <= 0.2 * calls["first_calls"] + struck


def test_every_fault_of_the_promise_has_its_phase() -> None:
    """What the run is said to do, it does."""
    assert {
        "killed", "hang", "reset mid-body", "429 with Retry-After", "500 burst", "slow trickle",
        "truncated JSON", "vector missing", "index duplicated", "one vector for all",
        "order reversed", "rows shifted", "NaN", "wrong dimension", "another model",
    } <= set(PHASES)  # fmt: skip
