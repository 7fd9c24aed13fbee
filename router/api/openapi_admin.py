"""The admin API's part of `/openapi.json`, from the models that read and write it."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from router.administration.usage import FIGURES
from router.api import admin_answers as answers
from router.api import admin_bodies as bodies
from router.api.admin import CURSOR, DEFAULT_PAGE, MAX_PAGE
from router.api.openapi_parts import Schema, operation
from router.domain.reports import DIMENSIONS

_BODIES = (
    bodies.NewTenantBody,
    bodies.TenantChangeBody,
    bodies.NewKeyBody,
    bodies.KeyChangeBody,
    bodies.RotationBody,
    bodies.QuotaBody,
)
_ANSWERS = (
    answers.TenantAnswer,
    answers.KeyAnswer,
    answers.ShownKeyAnswer,
    answers.QuotaAnswer,
    answers.TargetAnswer,
)
_USAGE: Schema = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {
        "object": {"const": "list"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": list(FIGURES),
                "additionalProperties": {"type": ["string", "integer"]},
            },
        },
    },
}
_READ = (400, 401, 403, 404, 503)
_WRITE = (400, 401, 403, 404, 408, 409, 413, 503)
_TEMPLATE = "#/components/schemas/{model}"


def admin_components() -> Schema:
    """Schemas of all bodies and answers by name."""
    taken: Any = [(kind, "validation") for kind in _BODIES]
    given: Any = [(kind, "serialization") for kind in _ANSWERS]
    _, document = models_json_schema(taken + given, ref_template=_TEMPLATE)
    definitions: Schema = document["$defs"]
    return definitions


def admin_paths() -> Schema:
    """Every path of the admin API."""
    tenant = _part("tenant", "A tenant's name.")
    key = _part("key", "A key's name.")
    one = "/admin/v1/tenants/{tenant}"
    return {
        "/admin/v1/tenants": {
            "get": operation(
                "List tenants", _listed(answers.TenantAnswer), _READ, parameters=_page()
            ),
            "post": _change(
                "Create a tenant", answers.TenantAnswer, bodies.NewTenantBody, [], status=201
            ),
        },
        one: {
            "get": operation(
                "Retrieve a tenant", _reference(answers.TenantAnswer), _READ, parameters=[tenant]
            ),
            "patch": _change(
                "Change or disable a tenant",
                answers.TenantAnswer, bodies.TenantChangeBody, [tenant],
            ),
        },
        f"{one}/keys": {
            "get": operation(
                "List a tenant's keys", _listed(answers.KeyAnswer), _READ,
                parameters=[tenant, *_page()],
            ),
            "post": _change(
                "Create a key", answers.ShownKeyAnswer, bodies.NewKeyBody, [tenant], status=201
            ),
        },
        f"{one}/keys/{{key}}": {
            "patch": _change(
                "Change or disable a key", answers.KeyAnswer, bodies.KeyChangeBody, [tenant, key]
            )
        },
        f"{one}/keys/{{key}}/rotate": {
            "post": _change(
                "Give a key a new value", answers.ShownKeyAnswer, bodies.RotationBody, [tenant, key]
            )
        },
        "/admin/v1/quotas": {
            "get": operation(
                "List quotas", _listed(answers.QuotaAnswer), _READ, parameters=_page()
            ),
            "put": _change("Create or change a quota", answers.QuotaAnswer, bodies.QuotaBody, []),
        },
        "/admin/v1/traces/{trace}": {
            "get": operation(
                "Explain a request", {"type": "object"}, (401, 403, 404, 503),
                parameters=[
                    _part("trace", "A request's id, or its trace's.", "^[A-Za-z0-9._:-]{1,128}$")
                ],
            )
        },
        "/admin/v1/targets": {
            "get": operation(
                "List targets", _listed(answers.TargetAnswer), (400, 401, 403, 503),
                parameters=_page(),
            )
        },
        "/admin/v1/usage": {
            "get": _report()
        },
        "/admin/v1/quotas/{quota}": {
            "delete": operation(
                "Remove a quota", {"type": "object"}, (401, 403, 404, 409, 503),
                parameters=[_part("quota", "A quota's id.", CURSOR)],
            )
        },
    }  # fmt: skip


def _report() -> Schema:
    described = operation("Report usage", _USAGE, (400, 401, 403, 503), parameters=_report_words())
    described["responses"]["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    return described


def _report_words() -> list[Schema]:
    told: dict[str, str] = {
        "by": f"Some of {', '.join(DIMENSIONS)}, with commas between.",
        "since": "A time of ISO 8601; by default 30 days before `until`. Whole hours count.",
        "until": "A time of ISO 8601; by default now.",
        **{name: f"Only this {name}." for name in DIMENSIONS[:6]},
        "format": "json or csv.",
    }
    return [
        {"name": name, "in": "query", "schema": {"type": "string"}, "description": text}
        for name, text in told.items()
    ]


def _change(
    summary: str,
    answer: type[BaseModel],
    body: type[BaseModel],
    parameters: list[Schema],
    status: int = 200,
) -> Schema:
    return operation(
        summary,
        _reference(answer),
        _WRITE,
        body=_reference(body),
        parameters=parameters,
        status=status,
    )


def _part(name: str, description: str, pattern: str = bodies.NAME) -> Schema:
    schema = {"type": "string", "pattern": pattern}
    return {
        "name": name, "in": "path", "required": True, "schema": schema, "description": description
    }  # fmt: skip


def _page() -> list[Schema]:
    return [
        {
            "name": "after",
            "in": "query",
            "schema": {"type": "string", "pattern": CURSOR},
            "description": "The `id` of the last one of the page before.",
        },
        {
            "name": "limit",
            "in": "query",
            "schema": {
                "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE
            },
            "description": "The most that a page may hold.",
        },
    ]  # fmt: skip


def _reference(kind: type[BaseModel]) -> Schema:
    return {"$ref": _TEMPLATE.format(model=kind.__name__)}


def _listed(kind: type[BaseModel]) -> Schema:
    return {
        "type": "object",
        "required": ["object", "data", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": _reference(kind)},
            "has_more": {"type": "boolean"},
        },
    }
