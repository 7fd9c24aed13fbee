"""What the custom resource definitions say, take and refuse."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from router.config.crds import definition_files, definitions, spec_schema
from router.config.resource_reference import resource_reference
from router.config.resources import KINDS, MODEL, PROVIDER, ROUTE, SPACE, TENANT, Kind, TenantKey
from router.config.settings import KeySettings

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "helm" / "embedway-crds" / "templates"
# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
ALLOWED = {
    "type", "properties", "items", "required", "enum", "default", "description", "format",
    "pattern",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
    "minItems", "maxItems", "maxProperties", "additionalProperties", "x-kubernetes-validations",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "VectorSpace": {"model": "Qwen/Qwen3-Embedding-4B", "dimensions": 2560, "maxTokens": 8192},
    "EmbeddingModel": {"space": "qwen", "model": "qwen3_embedding_4b"},
    "EmbeddingProvider": {"space": "qwen", "upstream": "openai", "apiKeySecret": {"name": "key"}},
    "EmbeddingRoute": {"space": "qwen", "targets": [{"kind": "EmbeddingModel", "name": "local"}]},
    "VectorSpaceMigration": {
        "fromRoute": "old",
        "toRoute": "new",
        "measurement": {"sample": {"configMap": "sample"}, "keySecret": {"name": "measurer"}},
    },
    "EmbeddingTenant": {"keys": [{"name": "first", "secret": {"name": "acme"}}]},
}
REFERENCE = {"kind": "EmbeddingModel", "name": "local"}


def places(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema."""
    yield schema
    inner = [*schema.get("properties", {}).values()]
    inner += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    for one in inner:
        yield from places(one)


def schema_of(kind: Kind) -> dict[str, Any]:
    version = definitions()[f"{kind.plural}.yaml"]["spec"]["versions"][0]
    return dict(version["schema"]["openAPIV3Schema"])


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The same in JSON Schema's words, unknown fields refused as strict clients refuse them."""
    made = copy.deepcopy(schema)
    for one in list(places(made)):
        for bound in ("Minimum", "Maximum"):
            if one.pop(f"exclusive{bound}", False):
                one[f"exclusive{bound}"] = one.pop(bound.lower())
        if "properties" in one:
            one["additionalProperties"] = False
    return made


@pytest.mark.parametrize("name", sorted(definition_files()))
def test_the_chart_holds_what_the_models_give(name: str) -> None:
    """The files of embedway-crds are up to date (`make format` writes them)."""
    assert (TEMPLATES / name).read_text() == definition_files()[name]


def test_the_chart_holds_nothing_else() -> None:
    """A definition whose kind is gone would be installed for ever."""
    assert {one.name for one in TEMPLATES.iterdir()} == set(definition_files())


def test_the_reference_is_up_to_date() -> None:
    """docs/reference/resources.md is what the schemas give."""
    assert (ROOT / "docs" / "reference" / "resources.md").read_text() == resource_reference()


@pytest.mark.parametrize("version", ["1.25", "1.30", "1.34"])
def test_kubernetes_takes_the_definitions(version: str) -> None:
    """They are valid CustomResourceDefinitions of these versions."""
    for body in definitions().values():
        kubernetes_validate.validate(body, version, strict=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_schemas_are_structural(kind: Kind) -> None:
    """One type everywhere, none but the allowed words, nothing beside a free-form object."""
    for place in places(schema_of(kind)):
        assert place.keys() <= ALLOWED
        assert isinstance(place["type"], str)
        assert not {"properties", "additionalProperties"} <= place.keys()
        if place["type"] == "array":
            assert "items" in place


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_object_is_pruned_to_nothing(kind: Kind) -> None:
    """An object without known fields would lose all of them, unless it says that it keeps them."""
    kept = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"}
    for place in places(spec_schema(kind)):
        assert place["type"] != "object" or place.keys() & kept


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_defaults_are_valid(kind: Kind) -> None:
    """A default that its own schema refuses is refused by the API server."""
    for place in places(spec_schema(kind)):
        if "default" in place:
            jsonschema.validate(place["default"], strict(place))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_definitions_outlive_their_chart(kind: Kind) -> None:
    """Helm uninstall keeps them, and with them every resource."""
    annotations = definitions()[f"{kind.plural}.yaml"]["metadata"]["annotations"]
    assert annotations == {"helm.sh/resource-policy": "keep"}


def test_a_model_can_be_scaled_by_its_resource() -> None:
    """The scale subresource has a label selector, which autoscalers ask for."""
    version = definitions()["embeddingmodels.yaml"]["spec"]["versions"][0]
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


def test_a_key_has_the_fields_of_the_files_keys() -> None:
    """Where a secret is kept differs; nothing else may be forgotten."""
    of_the_file = KeySettings.model_fields.keys() - {"env", "file"}
    assert TenantKey.model_fields.keys() - {"secret"} == of_the_file


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_plain_resources_are_taken(kind: Kind) -> None:
    """The shortest spec of each kind."""
    jsonschema.validate(GOOD[kind.name], strict(spec_schema(kind)))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        pytest.param(SPACE, {"dimensions": 0}, id="no dimension"),
        pytest.param(SPACE, {"dimensions": "2560"}, id="a dimension as text"),
        pytest.param(SPACE, {"matryoshka": [32]}, id="half a range"),
        pytest.param(SPACE, {"dimension": 2560}, id="a misspelt field"),
        pytest.param(SPACE, {"verification": {"minCosine": 1.5}}, id="a cosine above one"),
        pytest.param(
            SPACE, {"verification": {"reference": "x"}}, id="a reference by the file's name"
        ),
        pytest.param(MODEL, {"engine": "onnx"}, id="an unknown engine"),
        pytest.param(MODEL, {"gpus": -1}, id="less than no GPU"),
        pytest.param(MODEL, {"space": "Qwen"}, id="a space that is no object's name"),
        pytest.param(MODEL, {"cache": {"size": "lots"}}, id="a size that is none"),
        pytest.param(MODEL, {"weight": 0}, id="no weight"),
        pytest.param(MODEL, {"autoscaling": {"minReplicas": 1}}, id="no most replicas"),
        pytest.param(PROVIDER, {"upstream": "triton"}, id="a provider that is a Triton"),
        pytest.param(PROVIDER, {"apiKey": "sk-live"}, id="a key in the open"),
        pytest.param(PROVIDER, {"priceUsdPerMillionTokens": -1}, id="a negative price"),
        pytest.param(ROUTE, {"targets": []}, id="no target"),
        pytest.param(ROUTE, {"targets": ["local"]}, id="a target without its kind"),
        pytest.param(ROUTE, {"strategy": "random"}, id="an unknown strategy"),
        pytest.param(ROUTE, {"hedgeQuantile": 1}, id="a quantile of one"),
        pytest.param(TENANT, {"keys": [{"name": "a", "sha256": "ab"}]}, id="half a hash"),
        pytest.param(TENANT, {"keys": [{"name": "a", "scopes": ["root"]}]}, id="an unknown scope"),
        pytest.param(TENANT, {"quotas": [{"unit": "tokens"}]}, id="a quota without a limit"),
    ],
)
def test_wrong_resources_are_refused(kind: Kind, fields: dict[str, Any]) -> None:
    """By the schema alone, on any version of the API server."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**GOOD[kind.name], **fields}, strict(spec_schema(kind)))
