"""What one worker says for all."""

from dataclasses import replace
from pathlib import Path

import pytest

from router.domain.serving import Served, TargetReport, WorkerPlace
from router.reloading.board import Board

GOOD = TargetReport("s", "verified", up=True, measured=True)
OLD = Served(1, "sha256:old", None, {"t": GOOD})
NEW = Served(2, "sha256:new", None, {"t": GOOD})


@pytest.fixture
def boards(tmp_path: Path) -> list[Board]:
    return [Board(WorkerPlace(index, 2, tmp_path, 1, None)) for index in range(2)]


@pytest.mark.parametrize(
    ("mine", "other", "on_disk", "told"),
    [
        pytest.param(OLD, NEW, "sha256:new", OLD, id="the one asked lags"),
        pytest.param(NEW, OLD, "sha256:new", OLD, id="the other lags"),
        pytest.param(NEW, OLD, "sha256:old", NEW, id="a way back"),
        pytest.param(NEW, NEW, "sha256:new", NEW, id="both are there"),
        pytest.param(OLD, OLD, "sha256:bad", OLD, id="the file is bad"),
    ],
)
def test_a_hash_is_told_only_where_nobody_serves_another(
    boards: list[Board], mine: Served, other: Served, on_disk: str, told: Served
) -> None:
    """Whichever worker is asked, the file on the disk counts as served when all serve it."""
    boards[1].publish(other)
    found = boards[0].of_all(mine, on_disk)
    assert (found.served.hash, found.served.generation) == (told.hash, told.generation)
    assert (found.serving, found.workers) == (2, 2)


def test_the_worst_is_told(boards: list[Board]) -> None:
    """A target that one worker has put out, and any worker's error."""
    out = {"t": TargetReport("s", "quarantined", up=False, measured=True)}
    boards[1].publish(replace(OLD, targets=out, pending_error="bad"))
    served = boards[0].of_all(OLD, OLD.hash).served
    assert (served.targets, served.pending_error) == (out, "bad")


@pytest.mark.parametrize("flag", ["up", "measured"])
def test_a_flag_is_told_only_where_all_workers_raise_it(boards: list[Board], flag: str) -> None:
    """Whichever worker is asked: a request may meet the other."""
    lowered = replace(OLD, targets={"t": replace(GOOD, **{flag: False})})
    boards[1].publish(lowered)
    assert boards[0].of_all(OLD, OLD.hash).served.targets == lowered.targets
    boards[0].publish(OLD)
    assert boards[1].of_all(lowered, OLD.hash).served.targets == lowered.targets
