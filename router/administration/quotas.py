"""Quotas that administrators make; those of the configuration file are changed there."""

from collections.abc import Collection, Iterable

from router.administration.tenants import Administration
from router.domain.clock import Clock
from router.domain.errors import DeclaredInFileError, UnknownRecordError
from router.domain.ports import QuotaStore
from router.domain.quotas import Quota
from router.domain.tenants import FILE_CURSOR, Source


class QuotaAdministration:
    """Quotas of file and store. Its methods wait for the database: not on a loop."""

    def __init__(
        self,
        store: QuotaStore,
        declared: Iterable[Quota],
        tenants: Administration,
        routes: Collection[str],
        clock: Clock,
    ) -> None:
        """Take the file's quotas; tenants and routes are what a quota can be of."""
        self._store = store
        self._declared = {quota.id: quota for quota in declared}
        self._tenants = tenants
        self._routes = routes
        self._clock = clock

    def quotas(self, after: str, limit: int) -> list[tuple[Quota, Source]]:
        """At most `limit` quotas, those after an id: the file's, then the store's."""
        found: list[tuple[Quota, Source]] = []
        if not after or after.startswith(FILE_CURSOR):
            ids = list(self._declared)
            last = after.removeprefix(FILE_CURSOR)
            start = ids.index(last) + 1 if last in ids else 0
            found = [(self._declared[one], Source.FILE) for one in ids[start:]]
            after = ""
        stored = self._store.all(after, limit)
        return [*found, *((quota, Source.API) for quota in stored)][:limit]

    def put(self, quota: Quota) -> Quota:
        """Make a quota, or give the one there is a new limit.

        Raises DeclaredInFileError, and UnknownRecordError where its subject does not exist.
        """
        self._require_ours(quota.id)
        self._require_subject(quota)
        self._store.put(quota, self._clock.wall_s())
        return quota

    def remove(self, quota_id: str) -> None:
        """Remove a quota; DeclaredInFileError, UnknownRecordError."""
        self._require_ours(quota_id)
        if not self._store.remove(quota_id, self._clock.wall_s()):
            raise UnknownRecordError("there is no quota of that id")

    def _require_ours(self, quota_id: str) -> None:
        if quota_id in self._declared:
            raise DeclaredInFileError(
                f"quota {quota_id} is declared in the configuration file: change it there"
            )

    def _require_subject(self, quota: Quota) -> None:
        """A limit on nobody is a misspelt one; a key's name may be a token's, so anything goes."""
        if quota.scope == "route":
            if quota.subject not in self._routes:
                raise UnknownRecordError(f"there is no route {quota.subject}", param="subject")
            return
        self._tenants.tenant(quota.subject.partition(":")[0])
