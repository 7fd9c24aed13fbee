"""A small round of `make stress-quotas`: kills, an outage of PostgreSQL, and books that agree."""

import tempfile
from pathlib import Path

import pytest

from benchmarks.stress.routers import Plan
from benchmarks.stress_quotas import stress


@pytest.mark.timeout(400)
async def test_a_budget_holds_under_kills_and_outages() -> None:
    """No nano-USD too much, none lost, and every answer in the ledger once."""
    # Not pytest's own folder: another run of pytest closes that to PostgreSQL's user.
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(processes=3, clients=32, requests=400, seconds=8.0)
        found = await stress(plan, Path(folder))
    assert found.faults == []
    assert int(found.figures["processes killed"]) >= 2
    assert int(found.figures["answers that clients read"]) > 200
    # It was tried in earnest: nothing was left, and more was asked for.
    assert "402" in found.figures["refusals"]
