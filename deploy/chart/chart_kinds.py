"""The kinds of values by name, as JSON Schemas: strict wherever Kubernetes itself is not asked."""

import re
from pathlib import Path
from typing import Any

import yaml

from router.config.settings import Settings

Schema = dict[str, Any]

# What the chart decides in the router's configuration, by section.
_DECIDED = {
    "server": ("host", "port", "grpc_port", "drain_delay_s", "drain_timeout_s"),
    "store": ("url", "url_env", "state"),
}
# Sections that are declared by resources, or written by who puts the file together.
_DECLARED = ("spaces", "targets", "routes", "tenants", "generation")
_LABEL = "^[a-z0-9]([-a-z0-9]{0,22}[a-z0-9])?$"
_NAME = "^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
# What the demonstration declares may be changed in part.
_DEMO = "all-minilm-l6-v2"
_PLURALS = {
    "VectorSpace": "vectorspaces",
    "EmbeddingModel": "embeddingmodels",
    "EmbeddingProvider": "embeddingproviders",
    "EmbeddingRoute": "embeddingroutes",
    "EmbeddingTenant": "embeddingtenants",
}

_TEXT: Schema = {"type": "string"}
_OBJECT: Schema = {"type": "object"}
_MAP_OF_TEXT: Schema = {"type": "object", "additionalProperties": _TEXT}
_QUANTITY: Schema = {
    "type": ["string", "integer"],
    "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$",
}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}


def _closed(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_QUANTITIES: Schema = {"type": "object", "additionalProperties": _QUANTITY}
_KINDS: dict[str, Schema] = {
    "true or false": {"type": "boolean"},
    "text": _TEXT,
    "positive": {"type": "integer", "minimum": 1},
    "percent": {"type": "integer", "minimum": 1, "maximum": 100},
    "port": _PORT,
    "list of ports": {**_list_of(_PORT), "minItems": 1},
    "quantity": _QUANTITY,
    "object": _OBJECT,
    "map of text": _MAP_OF_TEXT,
    "list of text": _list_of(_TEXT),
    "list of secret names": _list_of({"type": "string", "pattern": _NAME}),
    "resources": _closed(requests=_QUANTITIES, limits=_QUANTITIES),
    "tolerations": _list_of(
        _closed(
            key=_TEXT,
            operator={"enum": ["Exists", "Equal"]},
            value=_TEXT,
            effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            tolerationSeconds={"type": "integer"},
        )
    ),
    # Objects of Kubernetes, which knows them better than a chart can.
    "objects": _list_of({"type": ["object", "string"]}),
}


def schema_of(kind: str, definitions: Path) -> Schema:
    """The schema of a kind; `definitions` is the folder of the custom resources' definitions."""
    if kind.startswith("one of "):
        return {"enum": kind.removeprefix("one of ").split(", ")}
    if kind == "configuration":
        return {"$ref": "#/definitions/RouterConfiguration"}
    if kind.startswith("map of ") and (resource := kind.removeprefix("map of ")) in _PLURALS:
        names = _LABEL if resource == "EmbeddingModel" else _NAME
        spec = _spec(definitions / f"{_PLURALS[resource]}.yaml")
        return {
            "type": "object",
            "propertyNames": {"pattern": names},
            "properties": {_DEMO: {name: one for name, one in spec.items() if name != "required"}},
            "additionalProperties": spec,
        }
    return _KINDS[kind]


def configuration_definitions() -> dict[str, Schema]:
    """The sections of the router's configuration that values may hold."""
    whole = Settings.model_json_schema(ref_template="#/definitions/{model}")
    models: dict[str, Schema] = whole.pop("$defs")
    for section, decided in _DECIDED.items():
        name = whole["properties"][section]["$ref"].rpartition("/")[2]
        for setting in decided:
            del models[name]["properties"][setting]
    for section in _DECLARED:
        del whole["properties"][section]
    del whole["required"]
    root = {**whole, "title": "RouterConfiguration"}
    found: dict[str, Schema] = {"RouterConfiguration": root}
    waiting = [root]
    while waiting:
        for name in re.findall(r"#/definitions/(\w+)", str(waiting.pop())):
            if name not in found:
                found[name] = models[name]
                waiting.append(models[name])
    return {name: _as_draft_7(one) for name, one in sorted(found.items())}


def _spec(definition: Path) -> Schema:
    """The `spec` of a custom resource, closed to fields that it does not have."""
    whole = yaml.safe_load(definition.read_text(encoding="utf-8"))
    version = whole["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec: Schema = closed_structure(version["properties"]["spec"])
    return spec


def closed_structure(schema: Schema) -> Schema:
    """A structural schema without what is Kubernetes' own, closed to fields beside its own."""
    kept: Schema = {}
    for name, value in schema.items():
        if name == "properties":
            kept[name] = {field: closed_structure(one) for field, one in value.items()}
            kept["additionalProperties"] = False
        elif name in ("items", "additionalProperties") and isinstance(value, dict):
            kept[name] = closed_structure(value)
        elif name == "exclusiveMinimum" and value is True:
            kept[name] = schema["minimum"]
        elif name == "exclusiveMaximum" and value is True:
            kept[name] = schema["maximum"]
        elif not name.startswith("x-") and name not in ("format", "default", "nullable"):
            kept[name] = value
    for bound in ("Minimum", "Maximum"):
        if isinstance(kept.get(f"exclusive{bound}"), float | int):
            kept.pop(bound.lower(), None)
    return kept


def _as_draft_7(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """Older Helms read draft 7, which writes the items of a pair otherwise."""
    if isinstance(schema, list):
        return [_as_draft_7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {"prefixItems": "items"}
    return {
        renamed.get(name, name): _as_draft_7(one)
        for name, one in schema.items()
        if name not in ("default", "title")
    }
