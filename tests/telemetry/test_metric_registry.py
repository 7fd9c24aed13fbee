"""Series in mapped memory: cheap to count, true over processes, bounded in number."""

import math
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.telemetry import metric_names as names
from router.telemetry.board import Board
from router.telemetry.cells import SEGMENT_SLOTS, Cells, SharedCells
from router.telemetry.merging import Point, merged
from router.telemetry.metric import Metric
from router.telemetry.registry import OTHER, Registry, schema_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def alone(max_series: int = 1000) -> Registry:
    return Registry(Cells(0.0), max_series)


Worker = Callable[..., Registry]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """Makes registries as each worker process has one; several fit into one process."""
    made: list[Registry] = []

    def make(schema: str | None = None, max_series: int = 1000) -> Registry:
        cells = SharedCells(tmp_path, schema or schema_of(), 1.0)
        made.append(Registry(cells, max_series))
        return made[-1]

    yield make
    for one in made:
        one.cells.close()


def points(registry: Registry, metric: Metric) -> dict[tuple[str, ...], Point]:
    for family in merged(registry):
        if family.metric is metric:
            return {point.labels: point for point in family.points}
    return {}


def values(registry: Registry, metric: Metric) -> dict[tuple[str, ...], float]:
    return {labels: point.value for labels, point in points(registry, metric).items()}


def test_any_worker_tells_what_all_have_counted(worker: Worker) -> None:
    """Counters and histograms of three workers add up, asked of each."""
    workers = [worker() for _ in range(3)]
    for number, one in enumerate(workers, start=1):
        one.counter(names.REQUESTS).of("r", "ok").add(number)
        one.histogram(names.REQUEST_DURATION).of("r").observe(0.003 * number)
    for one in workers:
        assert values(one, names.REQUESTS) == {("r", "ok"): 6.0}
        point = points(one, names.REQUEST_DURATION)["r",]
        assert sum(point.counts) == 3
        assert point.value == pytest.approx(0.018)


def test_counters_go_on_after_a_worker_is_killed(worker: Worker, tmp_path: Path) -> None:
    """What a process counted up to SIGKILL is there, and its successor goes on from it."""
    program = f"""
        import os, signal, sys
        from pathlib import Path
        from router.telemetry.cells import SharedCells
        from router.telemetry.metric_names import REQUESTS, WORKERS
        from router.telemetry.registry import Registry, schema_of
        registry = Registry(SharedCells(Path({str(tmp_path)!r}), schema_of(), 1.0), 1000)
        registry.gauge(WORKERS).of().set(1)
        for _ in range(1000):
            registry.counter(REQUESTS).of("r", "ok").add()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -signal.SIGKILL
    successor = worker()
    assert values(successor, names.REQUESTS) == {("r", "ok"): 1000.0}
    assert values(successor, names.WORKERS) == {}
    successor.counter(names.REQUESTS).of("r", "ok").add()
    other = worker()
    assert values(other, names.REQUESTS) == {("r", "ok"): 1001.0}
    assert len(list(tmp_path.glob("*.series"))) == 2


@pytest.mark.parametrize(
    ("metric", "labels", "together"),
    [
        (names.IN_FLIGHT_TOKENS, ("t",), 5.0),
        (names.BREAKER_OPEN, ("t",), 2.5),
        (names.GENERATION, (), 1.0),
        (names.RESTING, ("t",), 4.0),
    ],
    ids=["sum", "mean", "min", "max"],
)
def test_gauges_are_merged_by_their_rule(
    metric: Metric, labels: tuple[str, ...], together: float, worker: Worker
) -> None:
    """What is under way adds up, shares are averaged, the oldest and the longest are told."""
    first, second = worker(), worker()
    first.gauge(metric).of(*labels).set(1.0)
    second.gauge(metric).of(*labels).set(4.0)
    assert values(first, metric) == {labels: together}


def test_gauges_end_with_their_process(worker: Worker) -> None:
    """A worker that is gone has nothing in flight; what it counted stays."""
    gone, here = worker(), worker()
    for one in (gone, here):
        one.gauge(names.IN_FLIGHT_TOKENS).of("t").set(7)
        one.counter(names.REQUESTS).of("r", "ok").add()
    gone.cells.close()
    assert values(here, names.IN_FLIGHT_TOKENS) == {("t",): 7.0}
    assert values(here, names.REQUESTS) == {("r", "ok"): 2.0}


def test_predicted_wait_is_the_quotient_of_what_all_workers_have(worker: Worker) -> None:
    """Tokens in flight of all by tokens a second of all, and not a mean of quotients."""
    first, second = worker(), worker()
    for one, tokens, rate in ((first, 900, 100), (second, 100, 400)):
        one.gauge(names.IN_FLIGHT_TOKENS).of("t").set(tokens)
        one.gauge(names.THROUGHPUT).of("t").set(rate)
    assert values(first, names.PREDICTED_WAIT) == {("t",): 2.0}


def test_an_idle_target_has_no_wait_and_an_unmeasured_one_tells_none() -> None:
    """Nothing in flight is 0, something at an unknown rate is not told."""
    registry = alone()
    for target, tokens in (("idle", 0.0), ("new", 50.0)):
        registry.gauge(names.IN_FLIGHT_TOKENS).of(target).set(tokens)
        registry.gauge(names.THROUGHPUT).of(target).set(0.0)
    assert values(registry, names.PREDICTED_WAIT) == {("idle",): 0.0}


def test_exemplars_of_other_workers_are_told(worker: Worker) -> None:
    """The newest trace of a bucket is told by every worker."""
    first, second = worker(), worker()
    first.histogram(names.REQUEST_DURATION).of("r").observe(0.003, "00" * 16, 100.0)
    second.histogram(names.REQUEST_DURATION).of("r").observe(0.004, TRACE, 200.0)
    told = [one for one in points(first, names.REQUEST_DURATION)["r",].exemplars if one]
    assert [(one.trace_id, one.value, one.wall_s) for one in told] == [(TRACE, 0.004, 200.0)]


def test_a_line_that_a_crash_cut_short_is_left_out(worker: Worker, tmp_path: Path) -> None:
    """The series before it count on, and its room is used again."""
    first = worker()
    first.counter(names.REQUESTS).of("r", "ok").add(3)
    first.cells.close()
    with (tmp_path / "0.series").open("ab") as file:
        file.write(b'["embedway.requests", ["r", "o')
    second = worker()
    second.counter(names.REQUESTS).of("r", "bad").add()
    assert values(second, names.REQUESTS) == {("r", "ok"): 3.0, ("r", "bad"): 1.0}
    assert values(worker(), names.REQUESTS) == values(second, names.REQUESTS)


def test_files_of_another_release_are_begun_anew(worker: Worker) -> None:
    """Numbers that are laid out otherwise are not taken for ours."""
    old = worker("other")
    old.counter(names.REQUESTS).of("r", "ok").add(9)
    assert values(worker(), names.REQUESTS) == {}
    old.cells.close()
    again = worker()
    assert again.cells.number == 0
    assert values(again, names.REQUESTS) == {}


def test_series_without_end_become_one(worker: Worker) -> None:
    """Over the bound all further names of a metric are `other`, and that is counted."""
    registry = worker(max_series=1000)
    family = registry.counter(names.REQUESTS)
    for number in range(5000):
        family.of(f"route-{number}", "ok").add()
    found = values(registry, names.REQUESTS)
    assert sum(found.values()) == 5000
    assert len(found) <= 1000
    assert found[OTHER, OTHER] >= 4000
    assert values(registry, names.DROPPED)["metrics",] >= 4000


def test_many_series_lie_in_many_segments(worker: Worker) -> None:
    """Room grows without moving what is there: no series lies across two mappings."""
    registry = worker(max_series=10_000)
    first = registry.histogram(names.REQUEST_DURATION).of("first")
    first.observe(1.0)
    for number in range(3 * SEGMENT_SLOTS // names.REQUEST_DURATION.slots):
        registry.histogram(names.REQUEST_DURATION).of(str(number)).observe(2.0)
    first.observe(1.0)
    found = values(worker(), names.REQUEST_DURATION)
    assert found.pop(("first",)) == 2.0
    assert set(found.values()) == {2.0}


def counted(board: Board, totals: list[int]) -> None:
    for total in totals:
        board.follow(names.TARGET_TOKENS, total, "t")


def test_a_followed_counter_never_falls() -> None:
    """Another counter in its place, begun anew, adds what it has."""
    registry = alone()
    counted(Board(registry), [5, 9, 2, 4])
    assert values(registry, names.TARGET_TOKENS) == {("t",): 13.0}


def test_what_a_round_does_not_tell_is_gone() -> None:
    """A gauge of a target that left with its configuration is told no more."""
    registry = alone()
    board = Board(registry)
    board.tell(names.BREAKER_OPEN, 1.0, "t")
    board.turn()
    assert values(registry, names.BREAKER_OPEN) == {("t",): 1.0}
    board.turn()
    assert values(registry, names.BREAKER_OPEN) == {}
    board.tell(names.BREAKER_OPEN, math.nan, "t")
    assert values(registry, names.BREAKER_OPEN) == {}


def test_a_folder_is_for_its_owner(worker: Worker, tmp_path: Path) -> None:
    """Nobody else reads which tenants there are."""
    worker()
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
