"""JSON Schema as pydantic writes it, made into the subset of OpenAPI that a cluster takes.

No references, no null, no alternatives, one type everywhere; names as Kubernetes writes them.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from collections.abc import Mapping
from typing import Any

from router.config.section import Section

Schema = dict[str, Any]

_KEPT = (
    "type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems", "required",
)  # fmt: skip


def camel(name: str) -> str:
    """A setting's name as a cluster writes it: `timeout_s` → `timeoutSeconds`."""
    words = name.split("_")
    if words[-1] == "s" and len(words) > 1:
        words[-1] = "seconds"
    return words[0] + "".join(word.capitalize() for word in words[1:])


def properties_of(model: type[Section]) -> tuple[dict[str, Schema], list[str]]:
    """Structural schema by a model's own field names, and the names that are required."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    return (
        {name: structural(one, definitions) for name, one in schema["properties"].items()},
        list(schema.get("required", [])),
    )


def structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """One schema without references; its properties bear the names of a cluster."""
    whole = _flattened(schema, definitions)
    found: Schema = {name: whole[name] for name in _KEPT if name in whole}
    if description := whole.get("description"):
        found["description"] = " ".join(description.split())
    if whole.get("default") is not None and whole.get("type") != "object":
        found["default"] = whole["default"]
    for bound in ("Minimum", "Maximum"):
        if (limit := whole.get(f"exclusive{bound}")) is not None:
            found |= {bound.lower(): limit, f"exclusive{bound}": True}
    if "const" in whole:
        found["enum"] = [whole["const"]]
    if whole.get("format") == "date-time":
        found["format"] = "date-time"
    if whole.get("type") == "integer":
        found["format"] = "int64"
    if whole.get("type") == "array":
        items = whole.get("prefixItems", [whole.get("items", {})])[0]
        found["items"] = structural(items, definitions)
    if whole.get("type") == "object":
        found |= _object(whole, definitions)
    return found


def _flattened(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """References followed and alternatives taken away: null means absence, Decimal a number."""
    whole = dict(schema)
    while True:
        if "$ref" in whole:
            whole = {**definitions[whole.pop("$ref").rpartition("/")[2]], **whole}
        elif "anyOf" in whole:
            options = [one for one in whole.pop("anyOf") if one.get("type") != "null"]
            numbers = [one for one in options if one.get("type") == "number"]
            if not numbers and len(options) > 1:
                raise ValueError(f"a cluster's schema knows no alternatives: {options}")
            whole = {**(numbers or options)[0], **whole}
        else:
            return whole


def _object(whole: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    if "properties" in whole:
        found: Schema = {
            "properties": {
                camel(name): structural(one, definitions)
                for name, one in whole["properties"].items()
            }
        }
        if "required" in whole:
            found["required"] = [camel(name) for name in whole["required"]]
        return found
    values = whole.get("additionalProperties")
    if isinstance(values, Mapping) and values:
        return {"additionalProperties": structural(values, definitions)}
    return {"x-kubernetes-preserve-unknown-fields": True}
