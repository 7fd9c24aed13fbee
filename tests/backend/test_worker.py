"""The threads of an instance: room, order, and an end that leaves nothing undone."""

import threading

from tests.backend.test_scheduling import FakeEngine, a_job, scheduler
from worker import Worker


class FakeWatch:
    def __init__(self) -> None:
        self.kept = 0
        self.looked = threading.Event()

    def due_in_s(self) -> float:
        return 0.005

    def keep(self) -> None:
        self.kept += 1
        if self.kept > 2:
            self.looked.set()


def test_jobs_are_delivered_by_a_thread_of_their_own() -> None:
    """Every job is delivered once, and on neither the caller's nor the computing thread."""
    worker, delivered = Worker(scheduler(FakeEngine()), 100, FakeWatch()), []
    jobs = [a_job(3), a_job(4, 5)]
    for job in jobs:
        job.deliver = lambda job: delivered.append((job, threading.current_thread().name))
    worker.start()
    worker.submit(jobs)
    worker.close()
    assert {id(job) for job, _ in delivered} == {id(job) for job in jobs}
    assert {name for _, name in delivered} == {"embedding-send"}


def test_closing_finishes_what_was_handed_in() -> None:
    """Work that waits when the worker is closed is done before it ends."""
    worker, delivered = Worker(scheduler(FakeEngine()), 10_000, FakeWatch()), []
    jobs = [a_job(8) for _ in range(50)]
    for job in jobs:
        job.deliver = delivered.append
    worker.start()
    worker.submit(jobs)
    worker.close()
    assert len(delivered) == 50


def test_submitting_waits_for_room() -> None:
    """A caller is held while a micro-batch waits, and let go when it has left the lane."""
    gate = threading.Event()
    engine = FakeEngine()
    begin = engine.begin
    engine.begin = lambda sequences: gate.wait(60) and begin(sequences)  # type: ignore[method-assign]
    worker = Worker(scheduler(engine), 8, FakeWatch())
    worker.start()
    worker.submit([a_job(8)])  # runs, and stands at the gate
    second = threading.Thread(target=worker.submit, args=([a_job(8)],))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    gate.set()
    second.join(60)
    assert not second.is_alive()
    worker.close()


def test_documents_do_not_hold_the_caller() -> None:
    """A document of any length leaves room at once, so that queries can be handed in behind it."""
    gate = threading.Event()
    engine = FakeEngine()
    begin = engine.begin
    engine.begin = lambda sequences: gate.wait(60) and begin(sequences)  # type: ignore[method-assign]
    worker = Worker(scheduler(engine), 8, FakeWatch())
    worker.start()
    caller = threading.Thread(target=worker.submit, args=([a_job(5000), a_job(5000)],))
    caller.start()
    caller.join(60)
    assert not caller.is_alive()
    gate.set()
    worker.close()


def test_a_large_request_does_not_hold_the_caller_to_its_end() -> None:
    """Behind a request of many micro-batches the next caller is let in after one of them."""
    gate = threading.Semaphore(1)
    engine = FakeEngine()
    begin = engine.begin
    engine.begin = lambda sequences: gate.acquire(timeout=60) and begin(sequences)  # type: ignore[method-assign]
    worker, delivered = Worker(scheduler(engine), 8, FakeWatch()), []
    large, small = a_job(*[4] * 100), a_job(2)
    for job in (large, small):
        job.deliver = delivered.append
    worker.start()
    worker.submit([large])  # its first micro-batch runs, and the second stands at the gate
    caller = threading.Thread(target=worker.submit, args=([small],))
    caller.start()
    gate.release(3)
    caller.join(60)
    assert not caller.is_alive()
    gate.release(200)
    worker.close()
    assert delivered == [small, large]


def test_the_watch_is_kept_without_traffic() -> None:
    """Canaries are looked at even when nobody asks for anything."""
    watch = FakeWatch()
    worker = Worker(scheduler(FakeEngine()), 8, watch)
    worker.start()
    enough = watch.looked.wait(60)
    worker.close()
    assert enough
