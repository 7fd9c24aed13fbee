"""What administrators send, and how tenants and keys look to them.

pydantic is right here: these requests are few, and what they say is kept for long.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from router.config.settings import QuotaSettings
from router.domain.errors import InvalidInputError
from router.domain.quotas import NANO_USD, Quota
from router.domain.tenants import FILE_CURSOR, Source, KeyChange, KeyDescription, NewKey, Tenant, TenantChange
from router.domain.types import Scope

# No slash: the names stand in paths.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
# 31 December 9999, the last second that a calendar knows.
_LATEST_S = 253_402_300_799
_MONTH_S = 31 * 86_400

Name = Annotated[str, StringConstraints(pattern=NAME)]
# Printable, for it is printed.
TagValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,256}$")]
Tags = Annotated[dict[Name, TagValue], Field(max_length=16)]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
Second = Annotated[int, Field(ge=1, le=_LATEST_S)]


class Body(BaseModel):
    """Common ground: unknown fields are refused; null is "not given"."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class NewTenantBody(Body):
    """A tenant to be made."""

    name: Name
    """Who pays."""
    tags: Tags = {}
    """Words to find it by."""


class TenantChangeBody(Body):
    """What is to be different about a tenant."""

    disabled: bool | None = None
    """Whether all its keys and tokens are refused."""
    tags: Tags | None = None
    """Replaces the tags there are."""

    def change(self) -> TenantChange:
        """The same in the domain's words."""
        return TenantChange(is_disabled=self.disabled, tags=self.tags)


class NewKeyBody(Body):
    """A key to be made."""

    name: Name
    """What the key is called in logs, quotas and the ledger."""
    scopes: Scopes = [Scope.EMBED]
    """What it may be used for; none of them holds another."""
    tags: Tags = {}
    """Words to find it by."""
    expires_at: Second | None = None
    """Unix time in seconds from which it is refused; null is never."""

    def new(self, tenant: str) -> NewKey:
        """The same in the domain's words."""
        return NewKey(tenant, self.name, frozenset(self.scopes), self.tags, self.expires_at)


class KeyChangeBody(Body):
    """What is to be different about a key."""

    disabled: bool | None = None
    """Whether the key is refused."""
    scopes: Scopes | None = None
    """Replaces the scopes there are."""
    tags: Tags | None = None
    """Replaces the tags there are."""
    expires_at: Second | None = None
    """Unix time in seconds from which it is refused."""
    never_expires: bool = False
    """Takes `expires_at` away."""

    def change(self) -> KeyChange:
        """The same in the domain's words."""
        return KeyChange(
            is_disabled=self.disabled,
            scopes=None if self.scopes is None else frozenset(self.scopes),
            tags=self.tags,
            expires_s=self.expires_at,
            never_expires=self.never_expires,
        )


class RotationBody(Body):
    """How a key gets a new value."""

    grace_s: float = Field(86_400.0, ge=0, le=_MONTH_S)
    """Seconds that the old value goes on working."""


class TenantAnswer(Body):
    """A tenant."""

    object: Literal["tenant"] = "tenant"
    """What this is."""
    id: str
    """What `after` takes."""
    name: str
    """Who pays."""
    source: Literal["file", "api"]
    """Where it comes from, and so what can change it."""
    status: Literal["active", "disabled"]
    """Whether its keys and tokens are taken."""
    tags: dict[str, str]
    """Words to find it by."""
    created_at: int | None
    """Unix time in seconds; null for what the file declares."""


class KeyAnswer(Body):
    """A key without its value; a rotated one stands here twice until the old value ends."""

    object: Literal["key"] = "key"
    """What this is."""
    id: str
    """One value of the key; `after` takes it."""
    tenant: str
    """Who pays."""
    name: str
    """What the key is called in logs, quotas and the ledger."""
    source: Literal["file", "api"]
    """Where it comes from, and so what can change it."""
    status: Literal["active", "disabled", "expired", "rotated"]
    """`rotated`: another value has taken its place; this one works until `ends_at`."""
    scopes: list[Scope]
    """What it may be used for."""
    tags: dict[str, str]
    """Words to find it by."""
    created_at: int | None
    """Unix time in seconds; null for what the file declares."""
    ends_at: int | None
    """Unix time in seconds from which it is refused; null is never."""


class ShownKeyAnswer(KeyAnswer):
    """A key with its value, which is shown this once."""

    value: str
    """What clients put into `Authorization: Bearer …`."""


class QuotaBody(QuotaSettings):
    """A limit, and of whom: a subject has one of each unit, window and mode."""

    scope: Literal["tenant", "key", "route"]
    """Whose requests count."""
    subject: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][ -~]{0,257}$")]
    """A tenant's name, `tenant:key`, or a route's name."""

    @model_validator(mode="after")
    def _names_a_key(self) -> "QuotaBody":
        if self.scope == "key" and not re.fullmatch(r"[^:]+:.+", self.subject):
            raise ValueError("subject of a key is tenant:key")
        return self

    def quota(self) -> Quota:
        """The same in the domain's words."""
        return Quota(
            self.scope, self.subject, self.unit, self.limit_amount, self.window, self.mode
        )


class QuotaAnswer(Body):
    """A quota."""

    object: Literal["quota"] = "quota"
    """What this is."""
    id: str
    """Its name in answers that refuse; `after` takes it, and the path that removes it."""
    source: Literal["file", "api"]
    """Where it comes from, and so what can change it."""
    scope: Literal["tenant", "key", "route"]
    """Whose requests count."""
    subject: str
    """A tenant's name, `tenant:key`, or a route's name."""
    unit: Literal["requests", "tokens", "usd"]
    """What is limited."""
    limit: float
    """How much of it in a window."""
    limit_amount: int
    """The same, exact: in requests, tokens or nano-USD."""
    window: Literal["minute", "hour", "day", "month", "total"]
    """When it starts anew, by the calendar in UTC."""
    mode: Literal["hard", "soft", "shadow"]
    """hard refuses, soft warns, shadow only counts."""


Given = TypeVar("Given", bound=BaseModel)


def read(kind: type[Given], data: bytes) -> Given:
    """The body as that kind; InvalidInputError names the field, never its value."""
    try:
        return kind.model_validate_json(data or b"{}", strict=False)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = next((str(part) for part in first["loc"]), None)
        if field is not None and field not in kind.model_fields:
            raise InvalidInputError(
                f"Unrecognized request argument supplied: {field[:128]}"
            ) from error
        where = f"{field}: " if field else ""
        raise InvalidInputError(where + str(first["msg"]), param=field) from error


def tenant_answer(tenant: Tenant) -> TenantAnswer:
    """A tenant as it looks to administrators."""
    return TenantAnswer(
        id=tenant.id,
        name=tenant.name,
        source=tenant.source.value,
        status="disabled" if tenant.is_disabled else "active",
        tags=tenant.tags,
        created_at=_whole(tenant.created_s),
    )


def key_answer(key: KeyDescription, now_s: float) -> KeyAnswer:
    """A key as it looks to administrators at that time."""
    return KeyAnswer(**_key_fields(key, now_s))


def shown_key_answer(key: KeyDescription, value: str, now_s: float) -> ShownKeyAnswer:
    """A key with its value."""
    return ShownKeyAnswer(**_key_fields(key, now_s), value=value)


def quota_answer(quota: Quota, source: Source) -> QuotaAnswer:
    """A quota as it looks to administrators."""
    prefix = FILE_CURSOR if source is Source.FILE else ""
    return QuotaAnswer(
        id=prefix + quota.id,
        source=source.value,
        scope=quota.scope,
        subject=quota.subject,
        unit=quota.unit,
        limit=quota.limit / NANO_USD if quota.unit == "usd" else quota.limit,
        limit_amount=quota.limit,
        window=quota.window,
        mode=quota.mode,
    )


def _key_fields(key: KeyDescription, now_s: float) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "source": key.source.value,
        "status": key.status(now_s),
        "scopes": sorted(key.scopes),
        "tags": key.tags,
        "created_at": _whole(key.created_s),
        "ends_at": _whole(key.ends_s),
    }


def _whole(time_s: float | None) -> int | None:
    return None if time_s is None else int(time_s)
