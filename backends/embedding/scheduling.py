"""Which sequences run next: micro-batches by tokens, and documents that rest between their layers.

Short sequences leave in micro-batches of at most `max_batch_tokens`. A document, longer than
`long_tokens`, runs alone, and between two of its layers one micro-batch of short sequences is let
through: a forward pass has no key-value cache, so a document at rest is one tensor. A query behind
a document of any length thus waits for one layer of it at most.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from faults import BackendError, EngineError, RequestCancelledError
from jobs import Job, Piece, Vectors
from lane import Lane
from memory import is_out_of_memory, release_memory
from packing import Ids


class Work(Protocol):
    """A forward pass under way."""

    def step(self) -> Vectors | None:
        """Take a step; the last one gives the vectors (n, dimensions) float32."""
        ...


Begin = Callable[[Sequence[Ids]], Work]


class Scheduler:
    """The work of one instance. Not thread-safe: `worker.py` calls it from one thread."""

    def __init__(self, begin: Begin, max_batch_tokens: int, long_tokens: int) -> None:
        """`begin` starts a pass over sequences that run together."""
        self._begin = begin
        self._max_batch_tokens = max_batch_tokens
        self._long_tokens = long_tokens
        self._lane = Lane()
        self._documents: deque[Piece] = deque()
        self._under_way: tuple[Piece, Work] | None = None
        self._is_turn_of_document = False
        self._steps = 0

    @property
    def short_tokens(self) -> int:
        """Tokens that wait for a micro-batch."""
        return self._lane.tokens

    @property
    def has_work(self) -> bool:
        """Whether `step` would do anything."""
        return bool(self._lane) or self._has_document

    @property
    def _has_document(self) -> bool:
        return self._under_way is not None or bool(self._documents)

    def add(self, jobs: Sequence[Job]) -> None:
        """Take jobs in; a later step ends each of them."""
        for job in jobs:
            job.came_at_step = self._steps
            pieces = [Piece(job, place) for place in range(len(job.sequences))]
            self._lane.add(piece for piece in pieces if not self._is_document(piece.ids))
            self._documents.extend(piece for piece in pieces if self._is_document(piece.ids))

    def short_tokens_of(self, jobs: Sequence[Job]) -> int:
        """Tokens of these jobs that would wait for a micro-batch."""
        return sum(len(ids) for job in jobs for ids in job.sequences if not self._is_document(ids))

    def _is_document(self, ids: Ids) -> bool:
        return len(ids) > self._long_tokens

    def step(self, made_room: Callable[[], None]) -> list[Job]:
        """Run one micro-batch, or one layer of a document; return the jobs that this ended.

        `made_room` is called when a micro-batch has left the lane, before it runs.
        """
        if self._lane and not (self._has_document and self._is_turn_of_document):
            self._is_turn_of_document = True
            touched = self._run_short(made_room)
        else:
            self._is_turn_of_document = False
            touched = self._advance_document() if self._has_document else set()
        self._steps += 1
        return [job for job in touched if job.is_done]

    def _run_short(self, made_room: Callable[[], None]) -> set[Job]:
        pieces = self._lane.take(self._max_batch_tokens)
        made_room()
        touched = {piece.job for piece in pieces}
        self._drop_cancelled(touched)
        wanted = [piece for piece in pieces if piece.job.fault is None]
        # Neighbours of one length share a kernel; longest first, so memory is claimed once.
        wanted.sort(key=lambda piece: -piece.tokens)
        if wanted:
            self._run_together(wanted, may_split=True)
        self._lane.drop({job for job in touched if job.fault is not None})
        return touched

    def _drop_cancelled(self, jobs: set[Job]) -> None:
        """Give up cancelled jobs.

        A job that leaves with the first micro-batch after it came is not asked: each question is a
        round trip to the server's process, and nobody gives up in so short a time.
        """
        for job in jobs:
            if job.came_at_step < self._steps and job.fault is None and job.is_cancelled():
                job.fault = RequestCancelledError("the request was cancelled")

    def _run_together(self, pieces: list[Piece], *, may_split: bool) -> None:
        try:
            work = self._begin([piece.ids for piece in pieces])
            while (vectors := work.step()) is None:
                pass
        except Exception as error:  # noqa: BLE001  # the top of the worker loop
            if not is_out_of_memory(error) or not may_split:
                _fail(pieces, _explained(error, len(pieces)))
                return
        else:
            _record(pieces, vectors)
            return
        # Out of the handler, whose traceback keeps the failed pass and its memory.
        release_memory()
        middle = (len(pieces) + 1) // 2
        for half in filter(None, (pieces[:middle], pieces[middle:])):
            self._run_together(half, may_split=False)

    def _advance_document(self) -> set[Job]:
        piece, work = self._under_way or (self._documents.popleft(), None)
        self._under_way = None
        self._drop_cancelled({piece.job})
        if piece.job.fault is not None:
            return {piece.job}
        try:
            work = work or self._begin([piece.ids])
            vectors = work.step()
        except Exception as error:  # noqa: BLE001  # the top of the worker loop
            if not is_out_of_memory(error):
                _fail([piece], _explained(error, 1))
                return {piece.job}
        else:
            if vectors is None:
                self._under_way = (piece, work)
                return {piece.job}
            _record([piece], vectors)
            return {piece.job}
        work = None
        release_memory()
        self._run_together([piece], may_split=False)
        return {piece.job}


def _record(pieces: list[Piece], vectors: Vectors) -> None:
    """Give each piece its row; a row that is not finite fails its own job alone."""
    for piece, vector in zip(pieces, vectors, strict=True):
        piece.job.tokens_taken += piece.tokens
        if np.isfinite(vector).all():
            piece.job.rows[piece.place] = vector
        else:
            _fail([piece], EngineError("the model gave a vector that is zero or not finite"))


def _fail(pieces: list[Piece], fault: BackendError) -> None:
    for piece in pieces:
        piece.job.fault = piece.job.fault or fault


def _explained(error: Exception, count: int) -> EngineError:
    """Return the kind of the error and its first line; torch's go on with a C++ stack."""
    if is_out_of_memory(error):
        return EngineError(f"the device has no memory for {count} sequences")
    lines = str(error).splitlines()
    summary = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    return EngineError(f"the model failed on {count} sequences: {summary}")
