"""What a router serves, as it tells those who wrote the configuration."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """One of the `count` processes that serve the same ports, and the folder that they share.

    The folder is empty when the first of them starts, and gone when the last has ended. A worker
    that starts again in a dead one's place has its index. `grpc_port` is None where gRPC is off.
    """

    index: int
    count: int
    folder: Path
    http_port: int
    grpc_port: int | None


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A target's space, and whether it was found to be of it (a `Standing`'s value).

    `up`: ready and of its space, so requests may go there. `measured`: its vectors of the golden
    texts were seen; a target that is trusted without is `verified` and not `measured`.
    """

    space: str
    standing: str
    up: bool
    measured: bool


@dataclass(frozen=True, slots=True)
class Served:
    """The configuration in force: its number and the hash of its file (None: it was no file).

    `pending_error` says why a newer file is not served. No secret, price or address is in it.
    """

    generation: int
    hash: str | None
    pending_error: str | None = None
    targets: dict[str, TargetReport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServedByAll:
    """The same of all workers together, of which `serving` are there."""

    served: Served
    serving: int
    workers: int
