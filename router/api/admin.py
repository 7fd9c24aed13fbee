"""The admin API: tenants, keys, quotas, targets. What waits for the database is done on threads."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel

from router.administration.quotas import QuotaAdministration
from router.administration.tenants import Administration
from router.api import admin_answers as answers
from router.api import admin_bodies as bodies
from router.api.exchange import Exchange, Reply
from router.domain.clock import Clock
from router.domain.errors import InvalidInputError, UnknownRecordError
from router.domain.reports import TargetAccount
from router.domain.tenants import Source
from router.telemetry.logs import Log

_MAX_BODY_BYTES = 64 * 1024
_BODY_TIMEOUT_S = 10.0
MAX_PAGE = 1000
DEFAULT_PAGE = 100
CURSOR = r"^[ -~]{1,340}$"

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class AdminDoor:
    """`/admin/v1/tenants`, `quotas`, `targets` and what lies below; the front checks the scope."""

    def __init__(
        self,
        administration: Administration,
        quotas: QuotaAdministration,
        targets: Callable[[], Sequence[TargetAccount]],
        clock: Clock,
        log: Log,
    ) -> None:
        """`targets` gives an account of each, in the order of their names."""
        self._administration = administration
        self._quotas = quotas
        self._targets = targets
        self._clock = clock
        self._log = log

    async def create_tenant(self, exchange: Exchange) -> Reply:
        """A new tenant; RecordExistsError, DeclaredInFileError."""
        body = bodies.read(bodies.NewTenantBody, await _body(exchange))
        made = await _work(self._administration.create_tenant, body.name, body.tags)
        self._tell(exchange, "create_tenant", tenant=made.name)
        return _reply(answers.tenant_answer(made), status=201)

    async def tenants(self, exchange: Exchange) -> Reply:
        """A page of tenants."""
        after, limit = page_of(exchange)
        found = await _work(self._administration.tenants, after, limit + 1)
        return _list([answers.tenant_answer(tenant) for tenant in found], limit)

    async def tenant(self, exchange: Exchange, tenant: str) -> Reply:
        """One tenant; UnknownRecordError."""
        del exchange
        found = await _work(self._administration.tenant, _name(tenant))
        return _reply(answers.tenant_answer(found))

    async def change_tenant(self, exchange: Exchange, tenant: str) -> Reply:
        """The tenant, changed; UnknownRecordError, DeclaredInFileError."""
        body = bodies.read(bodies.TenantChangeBody, await _body(exchange))
        changed = await _work(self._administration.change_tenant, _name(tenant), body.change())
        self._tell(exchange, "change_tenant", tenant=tenant)
        return _reply(answers.tenant_answer(changed))

    async def create_key(self, exchange: Exchange, tenant: str) -> Reply:
        """A new key and its value; UnknownRecordError, RecordExistsError, DeclaredInFileError."""
        body = bodies.read(bodies.NewKeyBody, await _body(exchange))
        made, value = await _work(self._administration.create_key, body.new(_name(tenant)))
        self._tell(exchange, "create_key", tenant=tenant, key=made.name)
        answer = answers.shown_key_answer(made, value, self._clock.wall_s())
        return _reply(answer, status=201)

    async def keys(self, exchange: Exchange, tenant: str) -> Reply:
        """A page of a tenant's keys; UnknownRecordError."""
        after, limit = page_of(exchange)
        found = await _work(self._administration.keys, _name(tenant), after, limit + 1)
        now_s = self._clock.wall_s()
        return _list([answers.key_answer(key, now_s) for key in found], limit)

    async def change_key(self, exchange: Exchange, tenant: str, key: str) -> Reply:
        """The key, changed; UnknownRecordError, DeclaredInFileError."""
        body = bodies.read(bodies.KeyChangeBody, await _body(exchange))
        work = self._administration.change_key
        changed = await _work(work, _name(tenant), _name(key), body.change())
        self._tell(exchange, "change_key", tenant=tenant, key=key)
        return _reply(answers.key_answer(changed, self._clock.wall_s()))

    async def rotate_key(self, exchange: Exchange, tenant: str, key: str) -> Reply:
        """The key with a new value; UnknownRecordError, DeclaredInFileError."""
        body = bodies.read(bodies.RotationBody, await _body(exchange))
        work = self._administration.rotate_key
        rotated, value = await _work(work, _name(tenant), _name(key), body.grace_s)
        self._tell(exchange, "rotate_key", tenant=tenant, key=key)
        return _reply(answers.shown_key_answer(rotated, value, self._clock.wall_s()))

    async def quotas(self, exchange: Exchange) -> Reply:
        """A page of quotas."""
        after, limit = page_of(exchange)
        found = await _work(self._quotas.quotas, after, limit + 1)
        return _list([answers.quota_answer(quota, source) for quota, source in found], limit)

    async def put_quota(self, exchange: Exchange) -> Reply:
        """The quota, made or with a new limit; UnknownRecordError, DeclaredInFileError."""
        body = bodies.read(bodies.QuotaBody, await _body(exchange))
        quota = await _work(self._quotas.put, body.quota())
        self._tell(exchange, "put_quota", quota=quota.id)
        return _reply(answers.quota_answer(quota, Source.API))

    async def remove_quota(self, exchange: Exchange, quota: str) -> Reply:
        """Nothing more is there; UnknownRecordError, DeclaredInFileError."""
        if not re.fullmatch(CURSOR, quota):
            raise UnknownRecordError("there is no quota of that id")
        await _work(self._quotas.remove, quota)
        self._tell(exchange, "remove_quota", quota=quota)
        return Reply(200, orjson.dumps({"object": "quota", "id": quota, "deleted": True}))

    async def targets(self, exchange: Exchange) -> Reply:
        """A page of targets, as this process knows them."""
        after, limit = page_of(exchange)
        later = [one for one in self._targets() if one.name > after]
        return _list([answers.target_answer(one) for one in later[: limit + 1]], limit)

    def _tell(self, exchange: Exchange, action: str, **subject: str) -> None:
        """Who did what: changes are looked for in logs when something went wrong."""
        by = exchange.caller
        self._log.event(
            "administration",
            request_id=exchange.request_id,
            action=action,
            **{f"of_{kind}": name for kind, name in subject.items()},
            by=None if by is None else f"{by.tenant}:{by.key_name}",
        )


def page_of(exchange: Exchange) -> tuple[str, int]:
    """The query's `after` ("" from the start) and `limit`; InvalidInputError."""
    after, limit = "", DEFAULT_PAGE
    for name, value in parse_qsl(exchange.query.decode("latin-1"), keep_blank_values=True):
        if name == "after" and re.fullmatch(CURSOR, value):
            after = value
        elif name == "limit" and re.fullmatch(r"[0-9]{1,6}", value, re.ASCII):
            limit = int(value)
        else:
            known = name in ("after", "limit")
            problem = "is not valid" if known else "is not a parameter: after and limit are"
            raise InvalidInputError(f"{name[:64]} {problem}", param=name if known else None)
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInputError(f"limit must lie within 1 and {MAX_PAGE}", param="limit")
    return after, limit


async def _body(exchange: Exchange) -> bytes:
    return await exchange.body(_MAX_BODY_BYTES, _BODY_TIMEOUT_S)


async def _work(
    work: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Answer:
    return await asyncio.to_thread(work, *arguments, **named)


def _name(part: str) -> str:
    """The part of a path as a name; UnknownRecordError where nothing can be called that."""
    if not re.fullmatch(bodies.NAME, part):
        raise UnknownRecordError("nothing can have that name")
    return part


def _reply(answer: BaseModel, status: int = 200) -> Reply:
    return Reply(status, answer.model_dump_json().encode())


def _list(items: list[BaseModel], limit: int) -> Reply:
    data = [item.model_dump(mode="json") for item in items[:limit]]
    body = {"object": "list", "data": data, "has_more": len(items) > limit}
    return Reply(200, orjson.dumps(body))
