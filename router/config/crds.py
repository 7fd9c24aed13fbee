"""The custom resource definitions, written from the configuration's own models.

`python -m router.config.crds FOLDER` writes one file a kind there.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from router.config.cel import RULES
from router.config.resources import GROUP, KINDS, MIGRATION, MODEL, SPACE, TENANT, VERSION, Kind
from router.config.structural import Schema, camel, properties_of

_HEADER = "# Made from router/config/resources.py by `make format`; a test compares them.\n"
_CONDITION: Schema = {
    "type": "object",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": {"type": "string", "maxLength": 316},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "reason": {"type": "string", "maxLength": 1024, "minLength": 1},
        "message": {"type": "string", "maxLength": 32768},
    },
}
# Rules of CEL are admitted only where their cost has a bound, so what they walk through has one.
_BOUNDS: dict[str, Schema] = {
    "prompts": {"maxProperties": 32},
    "prompts{}": {"maxLength": 4096},
    "providerInputTypes": {"maxProperties": 32},
    "providerInputTypes{}": {"maxLength": 128},
    "model": {"maxLength": 256},
    "revision": {"maxLength": 256},
    "tokenizer": {"maxLength": 1024},
    "defaultInstruction": {"maxLength": 4096},
    "quotas": {"maxItems": 16},
}
_COLUMNS: dict[str, list[tuple[str, str, str]]] = {
    "VectorSpace": [
        ("Model", "string", ".spec.model"), ("Dimensions", "integer", ".spec.dimensions"),
    ],
    "EmbeddingModel": [
        ("Space", "string", ".spec.space"), ("Replicas", "integer", ".status.replicas"),
        ("Available", "integer", ".status.readyReplicas"),
    ],
    "EmbeddingProvider": [
        ("Space", "string", ".spec.space"), ("Upstream", "string", ".spec.upstream"),
    ],
    "EmbeddingRoute": [
        ("Serves", "string", ".status.modelName"), ("Space", "string", ".spec.space"),
    ],
    "EmbeddingTenant": [("Disabled", "boolean", ".spec.disabled")],
    "VectorSpaceMigration": [
        ("From", "string", ".spec.fromRoute"), ("To", "string", ".spec.toRoute"),
        ("Wished", "string", ".spec.phase"), ("Phase", "string", ".status.phase"),
        ("Overlap", "number", ".status.overlap.recall"),
    ],
}  # fmt: skip


_TENANTS: Schema = {"type": "array", "items": {"type": "string"}}
_MIGRATION_STATUS: dict[str, Schema] = {
    "phase": {"type": "string", "description": "How far it has come."},
    "since": {"type": "string", "format": "date-time", "description": "When it came there."},
    "fromName": {"type": "string", "description": "The name that clients ask for."},
    "toName": {"type": "string", "description": "The route that answers those who have moved."},
    "pinnedTenants": {**_TENANTS, "description": "Every ready router answers them from the new."},
    "pendingTenants": {**_TENANTS, "description": "On their way, or waiting for it."},
    "overlap": {
        "type": "object",
        "description": "What was measured, of the measurement with this name.",
        "properties": {
            "measurement": {"type": "string"},
            **{name: {"type": "integer", "format": "int64"} for name in ("documents", "queries")},
            "k": {"type": "integer", "format": "int64"},
            **{
                name: {"type": "number"}
                for name in ("recall", "recallP10", "rankAgreement", "byChance")
            },
        },
    },
}


_PINS: Schema = {
    "type": "array",
    "description": "Names that its clients ask for and another route answers.",
    "items": {
        "type": "object",
        "required": ["model", "route"],
        "properties": {
            "model": {"type": "string", "description": "The name that is asked for."},
            "route": {"type": "string", "description": "The route that answers."},
            "migration": {"type": "string", "description": "The migration that has put it."},
        },
    },
}


class _PlainDumper(yaml.SafeDumper):
    """Without anchors: what stands twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def definitions() -> dict[str, dict[str, Any]]:
    """Each definition by the name of its file."""
    return {f"{kind.plural}.yaml": _definition(kind) for kind in KINDS}


def definition_files() -> dict[str, str]:
    """Text of each file by its name."""
    return {
        name: _HEADER
        + yaml.dump(one, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100)
        for name, one in definitions().items()
    }


def spec_schema(kind: Kind) -> Schema:
    """Structural schema of a kind's `spec`, rules included."""
    own, required = properties_of(kind.own)
    taken, taken_required = properties_of(kind.model)
    properties = {camel(name): one for name, one in own.items()}
    properties |= {camel(name): taken[name] for name in kind.taken}
    names = [*required, *(name for name in taken_required if name in kind.taken)]
    if kind is SPACE:
        # A cluster names targets by kind and name: `reference` beside it takes its place.
        del properties["verification"]["properties"]["reference"]
    if "upstream" in properties:
        properties["upstream"]["enum"] = ["openai", "cohere", "voyage"]
    schema: Schema = {"type": "object", "description": kind.summary, "properties": properties}
    if names:
        schema["required"] = [camel(name) for name in names]
    for path, bounds in _BOUNDS.items():
        if (place := _at(schema, path)) is not None:
            place |= {name: limit for name, limit in bounds.items() if name not in place}
    for path, rules in RULES[kind.name].items():
        place = _at(schema, path)
        if place is None:
            raise ValueError(f"{kind.name}: a rule is about {path}, which is not there")
        place["x-kubernetes-validations"] = [
            {"rule": rule.holds, "message": rule.message} for rule in rules
        ]
    return schema


def _at(schema: Schema, path: str) -> Schema | None:
    """The schema at `a.b[].c{}`: a property, an array's items, a mapping's values."""
    place: Schema | None = schema
    for step in _steps(path):
        if place is None:
            return None
        place = place.get(step) if step in {"items", "additionalProperties"} else (
            place.get("properties", {}).get(step)
        )  # fmt: skip
    return place


def _steps(path: str) -> Iterator[str]:
    for part in filter(None, path.split(".")):
        yield part.rstrip("[]{}")
        if part.endswith("[]"):
            yield "items"
        elif part.endswith("{}"):
            yield "additionalProperties"


def _status_schema(kind: Kind) -> Schema:
    properties: dict[str, Schema] = {
        "observedGeneration": {"type": "integer", "format": "int64"},
        "configurationGeneration": {
            "type": "integer",
            "format": "int64",
            "description": "Number of the latest router configuration that holds this resource.",
        },
        "conditions": {
            "type": "array",
            "maxItems": 16,
            "items": _CONDITION,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
        "configurationHash": {
            "type": "string",
            "description": "Hash of what that configuration holds of it.",
        },
        "modelName": {"type": "string"},
        "target": {"type": "string", "description": "Its name among the routers' targets."},
    }
    if kind is MODEL:
        properties |= {
            "replicas": {"type": "integer", "format": "int32"},
            "readyReplicas": {"type": "integer", "format": "int32"},
            "selector": {"type": "string"},
        }
    if kind is TENANT:
        properties["pins"] = _PINS
    if kind is MIGRATION:
        properties |= _MIGRATION_STATUS
    return {"type": "object", "properties": properties}


def _definition(kind: Kind) -> dict[str, Any]:
    columns = [*_COLUMNS[kind.name]]
    columns += [
        (name, "string", f'.status.conditions[?(@.type=="{name}")].status')
        for name in ("Accepted", "Programmed", "Ready")
    ]
    columns.append(("Age", "date", ".metadata.creationTimestamp"))
    subresources: dict[str, Any] = {"status": {}}
    if kind is MODEL:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["embedway"],
            },
            "versions": [_version(kind, columns, subresources)],
        },
    }


def _version(
    kind: Kind, columns: list[tuple[str, str, str]], subresources: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": [
            {"name": name, "type": type_name, "jsonPath": path} for name, type_name, path in columns
        ],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": kind.summary,
                "required": ["spec"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": spec_schema(kind),
                    "status": _status_schema(kind),
                },
            }
        },
    }


def write_definitions(folder: Path) -> None:
    """Write every file into a folder."""
    for name, text in definition_files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_definitions(Path(sys.argv[1]))
