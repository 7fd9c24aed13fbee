"""The rules in CEL, evaluated as an API server does: place by place, transitions with oldSelf."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import cel
import pytest

from router.config.crds import spec_schema
from router.config.resources import KINDS, PHASES, ROLLED_BACK
from tests.crds.test_definitions import GOOD

SCHEMAS = {kind.name: spec_schema(kind) for kind in KINDS}
MISSING = object()


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """The value as the API server stores it."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = {
            name: copy.deepcopy(one["default"])
            for name, one in properties.items()
            if "default" in one
        }
        filled |= value
        return {name: with_defaults(properties.get(name, {}), one) for name, one in filled.items()}
    if isinstance(value, list):
        return [with_defaults(schema.get("items", {}), one) for one in value]
    # The declared type says what an integer literal is.
    return float(value) if schema.get("type") == "number" and not isinstance(value, bool) else value


def broken(schema: dict[str, Any], new: Any, old: Any = MISSING) -> Iterator[str]:
    """Messages of the rules that do not hold; a transition rule needs both values."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" in rule["rule"] and old is MISSING:
            continue
        values = {"self": new} | ({} if old is MISSING else {"oldSelf": old})
        if not cel.evaluate(rule["rule"], values):
            yield rule["message"]
    if isinstance(new, dict):
        for name, one in schema.get("properties", {}).items():
            if name in new:
                before = old.get(name, MISSING) if isinstance(old, dict) else MISSING
                yield from broken(one, new[name], before)
    if isinstance(new, list):
        # Items of a list have no identity, so there is no old one.
        for item in new:
            yield from broken(schema["items"], item)


def messages(kind: str, new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    schema = SCHEMAS[kind]
    before = MISSING if old is None else with_defaults(schema, {**GOOD[kind], **old})
    return list(broken(schema, with_defaults(schema, {**GOOD[kind], **new}), before))


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_plain_resource_breaks_no_rule(kind: str) -> None:
    """Neither new nor written again as it is."""
    assert messages(kind, {}) == []
    assert messages(kind, {}, {}) == []


LOCAL = {"kind": "EmbeddingModel", "name": "local"}
REMOTE = {"kind": "EmbeddingProvider", "name": "remote"}
QUOTA = {"unit": "tokens", "limit": 10.5, "window": "day"}
WHEN = {"tenants": ["acme"]}


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        pytest.param(
            "VectorSpace", {"matryoshka": [64, 4096]}, "within 1 and dimensions", id="wide"
        ),
        pytest.param("VectorSpace", {"matryoshka": [64, 32]}, "smallest first", id="backwards"),
        pytest.param("VectorSpace", {"prompts": {"query": "q: "}}, "needs {text}", id="no text"),
        pytest.param(
            "VectorSpace", {"prompts": {"query": "{instruction} {text}"}},
            "needs defaultInstruction", id="no instruction",
        ),
        pytest.param("EmbeddingModel", {"engine": "tensorrt"}, "paddedProfiles", id="no profiles"),
        pytest.param(
            "EmbeddingModel", {"paddedProfiles": [[32, 128]]}, "paddedProfiles", id="needless"
        ),
        pytest.param(
            "EmbeddingModel", {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
            "above maxReplicas", id="more at least than at most",
        ),
        pytest.param(
            "EmbeddingModel", {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}},
            "only a ScaledObject scales to 0", id="an HPA to zero",
        ),
        pytest.param(
            "EmbeddingModel", {"autoscaling": {"by": "ScaledObject", "maxReplicas": 2}},
            "needs prometheusUrl", id="KEDA without Prometheus",
        ),
        pytest.param("EmbeddingRoute", {"targets": [LOCAL, LOCAL]}, "stands twice", id="twice"),
        pytest.param(
            "EmbeddingRoute", {"rules": [{"name": "a", "when": WHEN, "targets": [REMOTE]}]},
            "does not have", id="a rule's foreign target",
        ),
        pytest.param(
            "EmbeddingRoute", {"rules": [{"name": "a", "when": {"fromTime": "20:00"}}]},
            "belong together", id="half a time of day",
        ),
        pytest.param(
            "EmbeddingRoute", {"rules": [{"name": "a", "when": WHEN}, {"name": "a", "when": WHEN}]},
            "name stands twice", id="two rules of a name",
        ),
        pytest.param("EmbeddingRoute", {"quotas": [QUOTA]}, "whole number", id="half a token"),
        pytest.param("EmbeddingTenant", {"quotas": [QUOTA]}, "whole number", id="a tenant's half"),
        pytest.param(
            "VectorSpaceMigration", {"toRoute": "old"}, "are the same", id="from and to the same"
        ),
        pytest.param(
            "VectorSpaceMigration", {"cutover": {"tenants": ["a", "a"]}}, "stands twice",
            id="a tenant twice",
        ),
        pytest.param(
            "VectorSpaceMigration",
            {"measurement": {"sample": {}, "keySecret": {"name": "s"}}}, "exactly one of",
            id="no sample",
        ),
        pytest.param(
            "VectorSpaceMigration",
            {"measurement": {
                "sample": {"secret": "a", "claim": "b"}, "keySecret": {"name": "s"}
            }}, "exactly one of", id="two samples",
        ),
        pytest.param(
            "EmbeddingTenant", {"keys": [{"name": "a"}]}, "exactly one of", id="a key from nowhere"
        ),
        pytest.param(
            "EmbeddingTenant",
            {"keys": [{"name": "a", "sha256": "0" * 64, "secret": {"name": "s"}}]},
            "exactly one of", id="a key from two places",
        ),
        pytest.param(
            "EmbeddingTenant",
            {"keys": [{"name": "a", "sha256": "0" * 64}, {"name": "a", "sha256": "1" * 64}]},
            "name stands twice", id="two keys of a name",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(kind: str, spec: dict[str, Any], words: str) -> None:
    """With a sentence that says what."""
    told = messages(kind, spec)
    assert len(told) == 1
    assert words in told[0]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        pytest.param("VectorSpace", {"matryoshka": [32, 2560]}, id="a range"),
        pytest.param(
            "VectorSpace",
            {"prompts": {"query": "Instruct: {instruction}\n{text}"}, "defaultInstruction": "Find"},
            id="an instructed prompt",
        ),
        pytest.param(
            "EmbeddingModel", {"engine": "tensorrt", "paddedProfiles": [[32, 128]]}, id="tensorrt"
        ),
        pytest.param(
            "EmbeddingModel",
            {"autoscaling": {"by": "ScaledObject", "minReplicas": 0, "maxReplicas": 2,
                             "prometheusUrl": "http://prometheus:9090"}},
            id="KEDA from zero",
        ),
        pytest.param(
            "EmbeddingRoute",
            {"targets": [LOCAL, REMOTE],
             "rules": [{"name": "a", "when": WHEN, "targets": [REMOTE]}]},
            id="a rule",
        ),
        pytest.param(
            "EmbeddingTenant",
            {"quotas": [{"unit": "usd", "limit": 0.5, "window": "month"},
                        {"unit": "tokens", "limit": 1000, "window": "day"}]},
            id="half a dollar",
        ),
    ],
)  # fmt: skip
def test_what_goes_together_is_taken(kind: str, spec: dict[str, Any]) -> None:
    """The neighbours of what is refused."""
    assert messages(kind, spec) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({}, {"model": "another/model"}, id="model"),
        pytest.param({}, {"dimensions": 1024}, id="dimensions"),
        pytest.param({}, {"maxTokens": 512}, id="maxTokens"),
        pytest.param({}, {"revision": "main"}, id="revision added"),
        pytest.param({"revision": "main"}, {}, id="revision taken away"),
        pytest.param({"revision": "main"}, {"revision": "abc"}, id="revision"),
        pytest.param({}, {"lowercase": True}, id="lowercase"),
        pytest.param({}, {"matryoshka": [32, 2560]}, id="matryoshka"),
        pytest.param(
            {"prompts": {"query": "{text}"}}, {"prompts": {"query": "q: {text}"}}, id="prompt"
        ),
        pytest.param({}, {"providerInputTypes": {"query": "q"}}, id="input types"),
        pytest.param({"tokenizer": "/a"}, {"tokenizer": "/b"}, id="tokenizer"),
        pytest.param({"defaultInstruction": "a"}, {"defaultInstruction": "b"}, id="instruction"),
    ],
)
def test_a_spaces_identity_never_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Not by another value, nor by one that comes or goes."""
    assert "identity" in messages("VectorSpace", new, old)[0]


def test_how_targets_are_checked_may_change() -> None:
    """Verification and reference are no part of the identity."""
    new = {"verification": {"minCosine": 0.95}, "reference": LOCAL}
    assert messages("VectorSpace", new, {}) == []


@pytest.mark.parametrize("kind", ["EmbeddingModel", "EmbeddingProvider", "EmbeddingRoute"])
def test_nothing_moves_to_another_space_in_place(kind: str) -> None:
    """A new space needs a new resource."""
    assert "never changes in place" in messages(kind, {"space": "other"}, {})[0]


def test_a_model_may_roll_inside_its_space() -> None:
    """Image, replicas and folder change in place."""
    new = {"image": "embedway/triton:2", "replicas": 4, "model": "qwen3_embedding_4b_tensorrt"}
    assert messages("EmbeddingModel", new, {}) == []


_PHASES = [*PHASES, ROLLED_BACK]
_MAY_FOLLOW = {
    *((one, one) for one in _PHASES),
    *itertools.pairwise(PHASES),
    *((one, ROLLED_BACK) for one in PHASES[:-1]),
}


@pytest.mark.parametrize("after", _PHASES)
@pytest.mark.parametrize("before", _PHASES)
def test_phases_follow_one_another(before: str, after: str) -> None:
    """No step is skipped or taken back; RolledBack may follow any but Retire, and ends it."""
    told = messages("VectorSpaceMigration", {"phase": after}, {"phase": before})
    assert (told == []) is ((before, after) in _MAY_FOLLOW)


@pytest.mark.parametrize("field", ["fromRoute", "toRoute"])
def test_a_migration_keeps_its_way(field: str) -> None:
    """Another way is another migration."""
    told = messages("VectorSpaceMigration", {field: "elsewhere"}, {})
    assert told == ["a migration never changes its way: make a new one"]
