"""Micro-batches by tokens, documents that rest, and requests that fail alone."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import EngineError, RequestCancelledError
from jobs import Job
from packing import cut_by_tokens
from scheduling import Scheduler

LAYERS = 5


class FakeWork:
    def __init__(self, engine: "FakeEngine", sequences: Sequence[np.ndarray]) -> None:
        self._engine = engine
        self._sequences = sequences
        self._steps_left = LAYERS

    def step(self) -> np.ndarray | None:
        self._engine.steps.append(tuple(map(len, self._sequences)))
        self._steps_left -= 1
        if self._steps_left:
            return None
        rows = [[ids[0], len(ids)] for ids in self._sequences]
        return np.array(rows, np.float32)


class FakeEngine:
    """Answers (first id, length) after five steps; notes passes and steps; fails as told."""

    def __init__(self, fails_on: int | None = None, memory_tokens: int = 10**9) -> None:
        self.passes: list[list[int]] = []
        self.steps: list[tuple[int, ...]] = []
        self._fails_on = fails_on
        self._memory_tokens = memory_tokens

    def begin(self, sequences: Sequence[np.ndarray]) -> FakeWork:
        self.passes.append([len(ids) for ids in sequences])
        if sum(self.passes[-1]) > self._memory_tokens:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        if any(ids[0] == self._fails_on for ids in sequences):
            raise ValueError("wrong shape\nC++ stack")
        return FakeWork(self, sequences)


def a_job(*lengths: int, first: int = 1, cancelled_at: int | None = None) -> Job:
    polls = iter(range(1000))
    sequences = [np.full(length, first + n, np.int32) for n, length in enumerate(lengths)]
    return Job(sequences, (1, len(lengths)), lambda: next(polls) == cancelled_at, lambda job: None)


def scheduler(engine: FakeEngine, max_batch_tokens: int = 8, long_tokens: int = 100) -> Scheduler:
    return Scheduler(engine.begin, max_batch_tokens, long_tokens)


def finish(work: Scheduler) -> list[Job]:
    ended = []
    while work.has_work:
        ended += work.step(lambda: None)
    return ended


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_padded_micro_batches_stay_within_the_budget(lengths: list[int], budget: int) -> None:
    """Every place is in one micro-batch; only a single sequence may exceed the budget."""
    batches = list(cut_by_tokens(lengths, budget))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= budget


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=9), min_size=1, max_size=9))
def test_every_job_ends_once_with_its_own_rows(shapes: list[list[int]]) -> None:
    """However lanes and micro-batches fall, each job gets its rows in its order, exactly once."""
    engine = FakeEngine()
    work = scheduler(engine, max_batch_tokens=24, long_tokens=12)
    jobs = [a_job(*lengths, first=100 * n) for n, lengths in enumerate(shapes)]
    work.add(jobs)
    assert sorted(map(id, finish(work))) == sorted(map(id, jobs))
    for number, (job, lengths) in enumerate(zip(jobs, shapes, strict=True)):
        expected = [[100 * number + place, length] for place, length in enumerate(lengths)]
        assert job.vectors().tolist() == [expected]
    assert all(sum(each) <= 24 or len(each) == 1 for each in engine.passes)
    assert work.short_tokens == 0


def test_a_query_passes_a_document_after_one_layer() -> None:
    """A query that comes while a document runs is answered after one more of its layers."""
    engine = FakeEngine()
    work = scheduler(engine)
    document, query = a_job(1000), a_job(3)
    work.add([document])
    work.step(lambda: None)
    work.step(lambda: None)
    work.add([query])
    before = len(engine.steps)
    while not query.is_done:
        work.step(lambda: None)
    assert [step for step in engine.steps[before:] if step == (1000,)] in ([], [(1000,)])
    assert not document.is_done
    finish(work)
    assert document.vectors().tolist() == [[[1, 1000]]]


def test_a_document_moves_on_under_a_stream_of_queries() -> None:
    """Between two micro-batches a document gets a layer, so queries never starve it."""
    engine = FakeEngine()
    work = scheduler(engine)
    document = a_job(1000)
    work.add([document])
    for _ in range(2 * LAYERS + 1):
        work.add([a_job(8)])
        work.step(lambda: None)
    assert document.is_done


def test_a_large_request_leaves_room_for_a_small_one() -> None:
    """A query behind a request of hundreds of texts is in the second micro-batch at the latest."""
    engine = FakeEngine()
    work = scheduler(engine)
    large, small = a_job(*[2] * 500), a_job(2, first=900)
    work.add([large])
    work.step(lambda: None)
    work.add([small])
    assert work.step(lambda: None) == [small]


def test_an_engine_failure_fails_its_micro_batch_alone() -> None:
    """Jobs of other micro-batches are answered, and the message has one line."""
    failing, sound = a_job(8, first=66), a_job(2, first=1)
    work = scheduler(FakeEngine(fails_on=66))
    work.add([failing, sound])
    finish(work)
    assert sound.vectors().shape == (1, 1, 2)
    with pytest.raises(EngineError, match=r"1 sequences: ValueError: wrong shape$"):
        failing.vectors()


def test_a_failing_document_ends_alone() -> None:
    """A document that the model fails on is answered with an error, and work goes on."""
    failing, sound = a_job(500, first=66), a_job(2)
    work = scheduler(FakeEngine(fails_on=66))
    work.add([failing, sound])
    finish(work)
    assert sound.vectors().shape == (1, 1, 2)
    with pytest.raises(EngineError):
        failing.vectors()


def test_a_row_that_is_not_finite_fails_its_job_alone() -> None:
    """Of a micro-batch with one NaN row only that row's job is refused."""

    class Nan(FakeWork):
        def step(self) -> np.ndarray:
            return np.array([[np.nan if ids[0] == 66 else 1.0] for ids in self._sequences])

    engine = FakeEngine()
    bad, good = a_job(2, first=66), a_job(2)
    work = Scheduler(lambda sequences: Nan(engine, sequences), 8, 100)
    work.add([bad, good])
    finish(work)
    assert good.vectors().tolist() == [[[1.0]]]
    with pytest.raises(EngineError, match="not finite"):
        bad.vectors()


def test_a_batch_without_memory_is_halved_once() -> None:
    """Sequences that fit in half a batch are answered; one that never fits fails by itself."""
    engine = FakeEngine(memory_tokens=5)
    jobs = [a_job(2), a_job(2), a_job(2), a_job(2)]
    work = scheduler(engine)
    work.add(jobs)
    finish(work)
    assert engine.passes == [[2, 2, 2, 2], [2, 2], [2, 2]]
    assert all(job.fault is None for job in jobs)

    huge, small = a_job(7, first=50), a_job(1)
    work.add([huge, small])
    finish(work)
    assert small.vectors().tolist() == [[[1, 1]]]
    with pytest.raises(EngineError, match="the device has no memory for 1 sequences"):
        huge.vectors()


def test_a_document_without_memory_is_tried_twice() -> None:
    """A document that does not fit is tried once more, then refused."""
    engine, document = FakeEngine(memory_tokens=5), a_job(200)
    work = scheduler(engine)
    work.add([document])
    finish(work)
    assert engine.passes == [[200], [200]]
    with pytest.raises(EngineError, match="no memory"):
        document.vectors()


def test_a_job_cancelled_while_it_waits_is_dropped() -> None:
    """Of a job cancelled between two micro-batches the sequences that wait never run."""
    engine, job = FakeEngine(), a_job(4, 4, 4, 4, 4, 4, cancelled_at=1)
    work = scheduler(engine)
    work.add([job])
    assert finish(work) == [job]
    assert engine.passes == [[4, 4], [4, 4]]
    with pytest.raises(RequestCancelledError):
        job.vectors()


def test_a_cancelled_document_stops_between_its_layers() -> None:
    """A document whose caller leaves is given up after the layer under way."""
    engine, document = FakeEngine(), a_job(200, cancelled_at=1)
    work = scheduler(engine)
    work.add([document])
    assert finish(work) == [document]
    assert len(engine.steps) < LAYERS


def test_room_is_told_before_the_batch_runs() -> None:
    """Who waits for room hears of it when a micro-batch leaves, not when it is done."""
    engine, told = FakeEngine(), []
    work = scheduler(engine)
    work.add([a_job(8)])
    work.step(lambda: told.append((len(engine.steps), work.short_tokens)))
    assert told == [(0, 0)]
