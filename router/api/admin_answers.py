"""How tenants, keys, quotas and targets look to administrators."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from router.domain.quotas import NANO_USD, Quota
from router.domain.reports import Standing, TargetAccount, TargetWindow
from router.domain.tenants import FILE_CURSOR, KeyDescription, Source, Tenant
from router.domain.types import Scope


class Answer(BaseModel):
    """Common ground: what the description says is all there is."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class TenantAnswer(Answer):
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


class KeyAnswer(Answer):
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


class QuotaAnswer(Answer):
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


class WindowAnswer(Answer):
    """A target's calls in the present minute and those before it."""

    minutes: int
    """How many minutes together."""
    calls: int
    """Those that gave vectors, and those that failed by the target's fault."""
    failures: dict[str, int]
    """The latter by the code of their error."""
    available: float | None
    """Share of calls that gave vectors, from 0 to 1; null without calls."""
    tokens: int
    """Tokens that vectors were given for."""
    tokens_per_s: float | None
    """The same in a second in which a call was under way; null without calls."""
    p50_ms: float | None
    """Median latency, to five per cent; null where nothing was answered."""
    p99_ms: float | None
    """The latency that one call in a hundred exceeded."""


class TargetAnswer(Answer):
    """How a target stands with the process that answers, and what it did."""

    object: Literal["target"] = "target"
    """What this is."""
    id: str
    """What `after` takes."""
    name: str
    """The target's name in the configuration."""
    space: str
    """The space whose vectors it gives."""
    routes: list[str]
    """Routes that may send requests to it."""
    standing: Standing
    """Whether its vectors were found to be those of its space."""
    fault: str | None
    """What was beyond tolerance at the last comparison, if anything was."""
    obstacle: str | None
    """Why it is not called at this moment; null where it may be."""
    price_usd_per_million_tokens: float | None
    """Its price; null where it is not known."""
    tokens_in_flight: int
    """Tokens of calls under way."""
    predicted_wait_s: float
    """What a call is predicted to take now, in seconds."""
    least_cosine: float | None
    """Cosine with the reference, of the golden text that agrees least; null if never compared."""
    rank_agreement: float | None
    """Spearman correlation of all pairs' likeness with the reference's."""
    windows: list[WindowAnswer]
    """What it did, over some minutes and over an hour."""


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


def target_answer(account: TargetAccount) -> TargetAnswer:
    """A target as it looks to administrators."""
    return TargetAnswer(
        id=account.name,
        name=account.name,
        space=account.space,
        routes=list(account.routes),
        standing=account.standing,
        fault=account.fault,
        obstacle=account.obstacle,
        price_usd_per_million_tokens=account.usd_per_million_tokens,
        tokens_in_flight=account.tokens_in_flight,
        predicted_wait_s=round(account.predicted_wait_s, 4),
        least_cosine=account.least_cosine,
        rank_agreement=account.rank_agreement,
        windows=[_window_answer(window) for window in account.windows],
    )


def _window_answer(window: TargetWindow) -> WindowAnswer:
    return WindowAnswer(
        minutes=window.minutes,
        calls=window.calls,
        failures=window.failures,
        available=window.available,
        tokens=window.tokens,
        tokens_per_s=window.tokens_per_s,
        p50_ms=None if window.p50_s is None else round(window.p50_s * 1000, 2),
        p99_ms=None if window.p99_s is None else round(window.p99_s * 1000, 2),
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
