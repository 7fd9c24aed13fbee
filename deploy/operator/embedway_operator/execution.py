"""Carries a plan out. Every write stands by itself, so an end between any two is only a pause."""

from collections.abc import Callable
from typing import Protocol

from embedway_operator.errors import ClusterError, ConflictError, NotLeadingError
from embedway_operator.observed import Object
from embedway_operator.refusals import Refusals, place_of
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
    writes: tuple[Write, ...], cluster: Writer, is_leading: Callable[[], bool], refusals: Refusals
) -> list[ClusterError]:
    """Write all in order; what was refused is returned, and holds up nothing but what needs it.

    What was refused before is left until its time has come. Raises NotLeadingError before a write
    that we may not make any more, and ConflictError where the plan was made from what is no longer
    so: then all of it has to be made anew.
    """
    refused: list[ClusterError] = []
    missing: set[tuple[str, str]] = set()
    refusals.keep(writes)
    for write in writes:
        if refusals.holds(write) or (isinstance(write, Apply) and write.needs in missing):
            missing.add(place_of(write))
            continue
        if not is_leading():
            raise NotLeadingError("another operator may lead by now")
        try:
            await _carry_out_one(write, cluster)
        except ClusterError as error:
            if _is_stale(write, error):
                raise
            if _is_done(write, error):
                continue
            refused.append(error)
            refusals.add(write, error)
            missing.add(place_of(write))
        else:
            refusals.forget(write)
    return refused


def _is_stale(write: Write, error: ClusterError) -> bool:
    """Whether the write was meant for what is not there any more."""
    return isinstance(error, ConflictError) and isinstance(write, Apply) and write.is_locked


def _is_done(write: Write, error: ClusterError) -> bool:
    """Whether there is nothing left to do: it is there, or what it is of was deleted meanwhile."""
    if isinstance(error, ConflictError):
        return not isinstance(write, Apply)
    return error.status == 404 and isinstance(write, PatchStatus)


async def _carry_out_one(write: Write, cluster: Writer) -> None:
    match write:
        case Apply(body, _):
            await cluster.apply(body)
        case Delete(_, kind, name, uid):
            await cluster.delete(kind, name, uid)
        case PatchStatus(kind, name, status):
            await cluster.patch_status(kind, name, status)
        case Emit(body):
            await cluster.create(body)
