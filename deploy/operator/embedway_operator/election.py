"""Which of several operators leads: a Lease, as Kubernetes' own controllers hold it.

Times of other machines are never compared with ours: a Lease is over when it was *seen* unchanged
for its whole duration. https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from datetime import UTC, datetime
from typing import Protocol

from embedway_operator.errors import ClusterError, ConflictError
from embedway_operator.log import Log
from embedway_operator.observed import Object
from embedway_operator.paths import PLACES
from router.domain.clock import Clock

DURATION_S = 15.0
# A leader that has not renewed for this long stops; with the longest request it is still before
# anybody else may start.
RENEW_WITHIN_S = 10.0
RETRY_S = 2.0


class Leases(Protocol):
    """What the election needs of a cluster."""

    async def get(self, kind: str, name: str) -> Object | None:
        """One object; None where it is not there."""
        ...

    async def create(self, body: Object) -> Object:
        """A new object; ConflictError."""
        ...

    async def replace(self, body: Object) -> Object:
        """An object as a whole; ConflictError."""
        ...


class Election:
    """One candidate. `try_to_lead` is called every RETRY_S, by a leader as well."""

    def __init__(
        self, leases: Leases, lease: str, namespace: str, me: str, clock: Clock, log: Log
    ) -> None:
        self._leases = leases
        self._name = lease
        self._namespace = namespace
        self._me = me
        self._clock = clock
        self._renewed_s: float | None = None
        self._seen: tuple[str, str] | None = None
        self._seen_s = 0.0
        self._log = log
        # What was last logged: the holder that is waited for, and the status that is failed with.
        self._told_holder: str | None = None
        self._told_failure: int | None = None

    def is_leading(self) -> bool:
        """Whether nobody else can lead now. Asked before every write."""
        return (
            self._renewed_s is not None
            and self._clock.monotonic_s() - self._renewed_s < RENEW_WITHIN_S
        )

    async def try_to_lead(self) -> bool:
        """Take or renew the Lease if it is free or ours; whether we lead. Raises nothing.

        What stands in the way is logged when it begins, changes and ends, not at every try.
        """
        asked_s = self._clock.monotonic_s()
        try:
            is_ours = await self._take()
        except ConflictError:
            # Somebody was faster, or it was changed meanwhile: not renewed, and maybe not lost.
            is_ours = False
        except ClusterError as error:
            is_ours = False
            self._failed(error)
        else:
            self._answered()
        if is_ours:
            self._told_holder = None
            # From before the request: the others count from when they see it, which is later.
            self._renewed_s = asked_s
        return self.is_leading()

    async def step_down(self) -> None:
        """Let go of the Lease, so that the next one need not wait for its end. Raises nothing."""
        if not self.is_leading():
            return
        self._renewed_s = None
        try:
            lease = await self._leases.get("Lease", self._name)
            if lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self._me:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._leases.replace(lease)
        except ClusterError as error:
            self._log.event("lease_not_given_back", error=str(error), status=error.status)

    def _failed(self, error: ClusterError) -> None:
        if self._told_failure != error.status:
            self._told_failure = error.status
            self._log.event("lease_failed", error=str(error), status=error.status)

    def _answered(self) -> None:
        if self._told_failure is not None:
            self._told_failure = None
            self._log.event("lease_reached")

    def _waits_for(self, holder: str) -> None:
        if self._told_holder != holder:
            self._told_holder = holder
            self._log.event("waiting", holder=holder)

    async def _take(self) -> bool:
        lease = await self._leases.get("Lease", self._name)
        if lease is None:
            await self._leases.create(self._lease({"metadata": {}}))
            return True
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in {"", self._me} and not self._is_over(lease, holder):
            self._renewed_s = None
            self._waits_for(holder)
            return False
        await self._leases.replace(self._lease(lease))
        return True

    def _is_over(self, lease: Object, holder: str) -> bool:
        """Whether another's Lease has been seen unchanged for as long as it lasts."""
        seen = (holder, str(lease["metadata"].get("resourceVersion", "")))
        now_s = self._clock.monotonic_s()
        if seen != self._seen:
            self._seen, self._seen_s = seen, now_s
        duration_s = float((lease.get("spec") or {}).get("leaseDurationSeconds") or DURATION_S)
        return now_s - self._seen_s >= duration_s

    def _lease(self, before: Object) -> Object:
        spec = before.get("spec") or {}
        now = _micro_time(self._clock.wall_s())
        is_mine = spec.get("holderIdentity") == self._me
        changes = int(spec.get("leaseTransitions") or 0)
        return {
            "apiVersion": PLACES["Lease"][0],
            "kind": "Lease",
            "metadata": {
                **before["metadata"], "name": self._name, "namespace": self._namespace
            },
            "spec": {
                "holderIdentity": self._me,
                "leaseDurationSeconds": int(DURATION_S),
                "acquireTime": spec.get("acquireTime", now) if is_mine else now,
                "renewTime": now,
                "leaseTransitions": changes if is_mine or not spec else changes + 1,
            },
        }  # fmt: skip


def _micro_time(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
