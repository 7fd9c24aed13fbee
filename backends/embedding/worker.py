"""The threads of one instance: one computes, one sends answers, and Triton's own hands work in.

Triton's thread is held while a whole micro-batch waits already, until the next one leaves. The
queue then stays in Triton, where its batcher joins requests and its metrics see them; yet neither a
document nor a request of thousands of texts keeps the queries behind it from the scheduler.
"""

import queue
import threading
from collections.abc import Sequence
from typing import Protocol

from jobs import Job
from scheduling import Scheduler


class Watch(Protocol):
    """Something that is looked at now and then, between two steps."""

    def due_in_s(self) -> float:
        """Seconds until it is to be looked at again."""
        ...

    def keep(self) -> None:
        """Look, if it is time."""
        ...


class Worker:
    """Runs a scheduler until it is closed."""

    def __init__(self, scheduler: Scheduler, max_waiting_tokens: int, watch: Watch) -> None:
        """`watch` is kept on the computing thread, between two steps."""
        self._scheduler = scheduler
        self._max_waiting_tokens = max_waiting_tokens
        self._watch = watch
        self._changed = threading.Condition()
        self._arrived: list[Job] = []
        self._arrived_tokens = 0
        self._batches_left = 0
        self._is_closing = False
        self._ended: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._compute, name="embedding-compute", daemon=True),
            threading.Thread(target=self._send, name="embedding-send", daemon=True),
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand jobs in; returns once less than a micro-batch waits, or the next one has left."""
        with self._changed:
            self._arrived.extend(jobs)
            self._arrived_tokens += self._scheduler.short_tokens_of(jobs)
            self._changed.notify_all()
            before = self._batches_left
            self._changed.wait_for(lambda: self._has_room() or self._batches_left > before)

    def close(self) -> None:
        """Finish everything that was handed in, then end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _has_room(self) -> bool:
        waiting = self._arrived_tokens + self._scheduler.short_tokens
        return waiting < self._max_waiting_tokens

    def _compute(self) -> None:
        while self._take_arrived():
            self._watch.keep()
            if self._scheduler.has_work:
                for job in self._scheduler.step(self._tell_of_room):
                    self._ended.put(job)
        self._ended.put(None)

    def _tell_of_room(self) -> None:
        with self._changed:
            self._batches_left += 1
            self._changed.notify_all()

    def _take_arrived(self) -> bool:
        """Move what was handed in to the scheduler, or wait for it; False when all is done."""
        with self._changed:
            if not (self._arrived or self._scheduler.has_work or self._is_closing):
                self._changed.wait(self._watch.due_in_s())
            self._scheduler.add(self._arrived)
            self._arrived, self._arrived_tokens = [], 0
            return self._scheduler.has_work or not self._is_closing

    def _send(self) -> None:
        while (job := self._ended.get()) is not None:
            job.deliver(job)
