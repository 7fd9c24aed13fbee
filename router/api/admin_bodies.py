"""What administrators send.

pydantic is right here: these requests are few, and what they say is kept for long.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from router.config.metering import QuotaSettings
from router.domain.errors import InvalidInputError
from router.domain.quotas import Quota
from router.domain.tenants import (
    KeyChange,
    NewKey,
    TenantChange,
)
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
        return Quota(self.scope, self.subject, self.unit, self.limit_amount, self.window, self.mode)


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
