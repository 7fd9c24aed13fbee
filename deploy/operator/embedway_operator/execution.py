"""Carries a plan out. Every write stands by itself, so an end between any two is only a pause."""

from collections.abc import Callable
from typing import Protocol

from embedway_operator.errors import ClusterError, ConflictError, NotLeadingError
from embedway_operator.observed import Object
from embedway_operator.writes import Apply, Delete, Emit, PatchStatus, Write


class Writer(Protocol):
    """What carrying out needs of a cluster; all raise ClusterError."""

    async def apply(self, body: Object) -> Object:
        """Server-side apply."""
        ...

    async def patch_status(self, kind: str, name: str, status: Object) -> Object:
        """A status as a whole."""
        ...

    async def create(self, body: Object) -> Object:
        """A new object; ConflictError where it is there."""
        ...

    async def delete(self, kind: str, name: str, uid: str) -> None:
        """That very object."""
        ...


async def carry_out(
    writes: tuple[Write, ...], cluster: Writer, is_leading: Callable[[], bool]
) -> list[ClusterError]:
    """Write all in order; what was refused is returned, and holds up nothing but itself.

    Raises NotLeadingError before a write that we may not make any more, and ConflictError where the
    plan was made from what is no longer so: then all of it has to be made anew.
    """
    refused: list[ClusterError] = []
    for write in writes:
        if not is_leading():
            raise NotLeadingError("another operator may lead by now")
        try:
            await _carry_out_one(write, cluster)
        except ConflictError:
            if isinstance(write, Apply):
                raise
        except ClusterError as error:
            # 404 of a status: the resource was deleted meanwhile.
            if not (error.status == 404 and isinstance(write, PatchStatus)):
                refused.append(error)
    return refused


async def _carry_out_one(write: Write, cluster: Writer) -> None:
    match write:
        case Apply(body):
            await cluster.apply(body)
        case Delete(_, kind, name, uid):
            await cluster.delete(kind, name, uid)
        case PatchStatus(kind, name, status):
            await cluster.patch_status(kind, name, status)
        case Emit(body):
            await cluster.create(body)
