"""Run the sequences of many requests together, so that each request succeeds or fails alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from packing import cut_by_tokens
from faults import BackendError, EngineError, RequestCancelledError

Ids = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[Ids]], Vectors]


@dataclass(slots=True, eq=False)
class Job:
    """One valid request: its sequences, and its vectors or its fault.

    `shape`: the shape in which the caller gave the sequences, usually (1, n).
    """

    sequences: list[Ids]
    shape: tuple[int, ...]
    is_cancelled: Callable[[], bool]
    rows: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    fault: BackendError | None = None

    def vectors(self) -> Vectors:
        """Return the vectors as `shape` + (dimensions,) float32; raise the job's fault instead."""
        if self.fault is not None:
            raise self.fault
        rows = np.stack([self.rows[place] for place in range(len(self.sequences))])
        return rows.reshape(*self.shape, -1)


def run_jobs(jobs: Sequence[Job], embed: Embed, max_batch_tokens: int) -> None:
    """Embed the sequences of all jobs in micro-batches sorted by length.

    A job that was cancelled is dropped before its next micro-batch. An engine failure fails the
    jobs in that micro-batch, and spares the others.
    """
    pieces = [(job, place) for job in jobs for place in range(len(job.sequences))]
    lengths = [len(job.sequences[place]) for job, place in pieces]
    for batch in cut_by_tokens(lengths, max_batch_tokens):
        members = [pieces[number] for number in batch]
        _drop_cancelled({job for job, _ in members})
        wanted = [(job, place) for job, place in members if job.fault is None]
        if wanted:
            _run_batch(wanted, embed)


def _drop_cancelled(jobs: set[Job]) -> None:
    for job in jobs:
        if job.fault is None and job.is_cancelled():
            job.fault = RequestCancelledError("the request was cancelled")


def _run_batch(members: Sequence[tuple[Job, int]], embed: Embed) -> None:
    try:
        vectors = embed([job.sequences[place] for job, place in members])
    except Exception as error:  # noqa: BLE001  # the top of the worker loop
        fault = EngineError(f"the model failed on {len(members)} sequences: {_summary(error)}")
        for job, _ in members:
            job.fault = fault
        return
    for (job, place), vector in zip(members, vectors, strict=True):
        job.rows[place] = vector


def _summary(error: Exception) -> str:
    """Return the kind of the error and its first line; torch's go on with a C++ stack."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
