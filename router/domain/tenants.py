"""Tenants and keys as administrators see them; of a key's value nothing is here but its end."""

from dataclasses import dataclass, field
from enum import StrEnum

from router.domain.types import Scope

# Before the name of what the file declares, where lists go on after it.
FILE_CURSOR = "file:"


class Source(StrEnum):
    """Where a tenant or key comes from, and so what can change it."""

    FILE = "file"
    API = "api"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays. Times are in seconds since the Unix epoch."""

    name: str
    source: Source
    tags: dict[str, str] = field(default_factory=dict)
    created_s: float | None = None
    disabled_s: float | None = None
    is_disabled: bool = False

    @property
    def id(self) -> str:
        """What a list goes on after; a name may be in the file and in the store."""
        return f"{FILE_CURSOR}{self.name}" if self.source is Source.FILE else self.name


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """A key, without its value. Times are in seconds since the Unix epoch.

    A rotated key stands twice under its name until `grace_until_s`, when the old value ends.
    """

    id: str
    tenant: str
    name: str
    source: Source
    scopes: frozenset[Scope]
    tags: dict[str, str] = field(default_factory=dict)
    created_s: float | None = None
    expires_s: float | None = None
    disabled_s: float | None = None
    is_disabled: bool = False
    rotated_s: float | None = None
    grace_until_s: float | None = None

    @property
    def ends_s(self) -> float | None:
        """When it is refused from: at its end, or at that of its grace; None is never."""
        ends = [end for end in (self.expires_s, self.grace_until_s) if end is not None]
        return min(ends, default=None)

    def status(self, now_s: float) -> str:
        """One word: active, rotated (and in its grace), disabled or expired."""
        if self.is_disabled:
            return "disabled"
        if self.ends_s is not None and now_s >= self.ends_s:
            return "expired"
        return "active" if self.rotated_s is None else "rotated"


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is asked for when a key is made; `expires_s` None is never."""

    tenant: str
    name: str
    scopes: frozenset[Scope]
    tags: dict[str, str] = field(default_factory=dict)
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What is to be different about a key; None leaves a thing as it is.

    `never_expires` takes the end away.
    """

    is_disabled: bool | None = None
    scopes: frozenset[Scope] | None = None
    tags: dict[str, str] | None = None
    expires_s: float | None = None
    never_expires: bool = False


@dataclass(frozen=True, slots=True)
class TenantChange:
    """What is to be different about a tenant; None leaves a thing as it is."""

    is_disabled: bool | None = None
    tags: dict[str, str] | None = None
