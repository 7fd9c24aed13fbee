"""What administrators do to tenants and keys.

What the configuration file declares is listed here and changed there.
"""

from collections.abc import Mapping, Sequence

from router.domain.clock import Clock
from router.domain.errors import DeclaredInFileError, UnknownRecordError
from router.domain.keys import fingerprint, new_key
from router.domain.ports import TenantStore
from router.domain.tenants import (
    FILE_CURSOR,
    KeyChange,
    KeyDescription,
    NewKey,
    Tenant,
    TenantChange,
)


class Administration:
    """Tenants and keys of file and store. Its methods wait for the database: not on a loop."""

    def __init__(
        self,
        store: TenantStore,
        tenants: Mapping[str, Tenant],
        keys: Mapping[str, Sequence[KeyDescription]],
        clock: Clock,
    ) -> None:
        """Take the file's tenants by name, and its keys by their tenant's name."""
        self._store = store
        self._tenants = dict(sorted(tenants.items()))
        self._keys = keys
        self._clock = clock

    def create_tenant(self, name: str, tags: dict[str, str]) -> Tenant:
        """A new tenant; DeclaredInFileError, RecordExistsError."""
        self._require_ours(name)
        return self._store.create_tenant(name, tags, self._clock.wall_s())

    def tenants(self, after: str, limit: int) -> list[Tenant]:
        """At most `limit` tenants, those after an id: the file's, then the store's."""
        found: list[Tenant] = []
        if not after or after.startswith(FILE_CURSOR):
            names = list(self._tenants)
            last = after.removeprefix(FILE_CURSOR)
            start = names.index(last) + 1 if last in names else 0
            found, after = [self._tenants[name] for name in names[start:]], ""
        return [*found, *self._store.tenants(after, limit)][:limit]

    def tenant(self, name: str) -> Tenant:
        """One tenant; UnknownRecordError."""
        return self._tenants.get(name) or self._store.tenant(name)

    def change_tenant(self, name: str, change: TenantChange) -> Tenant:
        """The tenant as it is now; DeclaredInFileError, UnknownRecordError."""
        self._require_ours(name)
        return self._store.change_tenant(name, change, self._clock.wall_s())

    def create_key(self, new: NewKey) -> tuple[KeyDescription, str]:
        """A new key and its value, which nobody can see again.

        Raises DeclaredInFileError, UnknownRecordError, RecordExistsError.
        """
        self._require_ours(new.tenant)
        value = new_key()
        made = self._store.create_key(new, fingerprint(value), self._clock.wall_s())
        return made, value

    def keys(self, tenant: str, after: str, limit: int) -> list[KeyDescription]:
        """At most `limit` keys of a tenant, those after the one with an id; UnknownRecordError.

        Where the file has taken over a tenant of the store, the store's keys follow the file's.
        """
        declared = list(self._keys.get(tenant, ()))
        ids = [key.id for key in declared]
        if after in ids:
            declared, after = declared[ids.index(after) + 1 :], ""
        elif after:
            declared = []
        try:
            stored = self._store.keys(tenant, after, limit)
        except UnknownRecordError:
            if tenant not in self._tenants:
                raise
            stored = []
        return (declared + stored)[:limit]

    def change_key(self, tenant: str, name: str, change: KeyChange) -> KeyDescription:
        """The key as it is now; DeclaredInFileError, UnknownRecordError."""
        self._require_our_key(tenant, name)
        return self._store.change_key(tenant, name, change, self._clock.wall_s())

    def rotate_key(self, tenant: str, name: str, grace_s: float) -> tuple[KeyDescription, str]:
        """The key and its new value; the old one goes on for `grace_s` seconds.

        Raises DeclaredInFileError, UnknownRecordError, InvalidInputError.
        """
        self._require_our_key(tenant, name)
        value = new_key()
        now_s = self._clock.wall_s()
        return self._store.rotate_key(tenant, name, fingerprint(value), grace_s, now_s), value

    def _require_our_key(self, tenant: str, name: str) -> None:
        if any(key.name == name for key in self._keys.get(tenant, ())):
            raise DeclaredInFileError(
                f"key {name} of tenant {tenant} is declared in the configuration file: "
                "change it there"
            )

    def _require_ours(self, tenant: str) -> None:
        if tenant in self._tenants:
            raise DeclaredInFileError(
                f"tenant {tenant} is declared in the configuration file: change it there"
            )
