"""One request inside the backend: its sequences, and in the end its vectors or its fault."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from faults import BackendError
from packing import Ids

Vectors = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Job:
    """A valid request.

    `shape`: the shape in which the caller gave the sequences, usually (1, n). `deliver` is called
    once, when every sequence has its vector or the job has its fault. `tokens_taken` is how much
    of the machine it has had so far; `came_at_step` is the scheduler's count when it came.
    """

    sequences: list[Ids]
    shape: tuple[int, ...]
    is_cancelled: Callable[[], bool]
    deliver: Callable[["Job"], None]
    rows: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    fault: BackendError | None = None
    tokens_taken: int = 0
    came_at_step: int = 0

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to compute."""
        return self.fault is not None or len(self.rows) == len(self.sequences)

    def vectors(self) -> Vectors:
        """Return the vectors as `shape` + (dimensions,) float32; raise the job's fault instead."""
        if self.fault is not None:
            raise self.fault
        rows = np.stack([self.rows[place] for place in range(len(self.sequences))])
        return rows.reshape(*self.shape, -1)


@dataclass(frozen=True, slots=True)
class Piece:
    """One sequence of a job: the unit that micro-batches are made of."""

    job: Job
    place: int

    @property
    def ids(self) -> Ids:
        """The sequence, (tokens,) int32."""
        return self.job.sequences[self.place]

    @property
    def tokens(self) -> int:
        """Its length."""
        return len(self.ids)
