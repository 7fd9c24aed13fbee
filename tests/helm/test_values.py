"""Values: each is explained, has an effect, and is the only one of its kind that is taken."""

import json
from pathlib import Path
from typing import Any

import helm_python
import pytest

from chart_reference import reference_files
from chart_values import UnexplainedValueError, Value, read_values
from tests.support import charts

VALUES = read_values(charts.CHART / "values.yaml")
PEER = [{"ipBlock": {"cidr": "10.9.8.7/32"}}]
REQUESTS = {"requests": {"cpu": "77m"}}
# Another value of each kind.
OTHER: dict[str, Any] = {
    "text": "other",
    "positive": 7,
    "percent": 55,
    "port": 5433,
    "list of ports": [8443],
    "quantity": "7Gi",
    "object": {"runAsNonRoot": True},
    "map of text": {"other": "one"},
    "list of text": ["other"],
    "list of secret names": ["other"],
    "resources": REQUESTS,
    "tolerations": [{"key": "other", "operator": "Exists"}],
    "objects": [{"name": "other"}],
    "configuration": {"cache": {"max_bytes": 7}},
    "one of Always, IfNotPresent, Never": "Never",
    "one of ClusterIP, NodePort, LoadBalancer": "NodePort",
    "one of ReadWriteOnce, ReadWriteOncePod, ReadWriteMany": "ReadWriteMany",
    "map of VectorSpace": {"other": {"model": "m", "dimensions": 8, "maxTokens": 8}},
    "map of EmbeddingModel": {"other": {"space": "all-minilm-l6-v2", "model": "m"}},
    "map of EmbeddingProvider": {
        "other": {
            "space": "all-minilm-l6-v2", "upstream": "openai", "apiKeySecret": {"name": "n"},
            "url": "https://p.example", "model": "m",
        }
    },
    "map of EmbeddingRoute": {
        "other": {
            "space": "all-minilm-l6-v2",
            "targets": [{"kind": "EmbeddingModel", "name": "all-minilm-l6-v2"}],
        }
    },
    "map of EmbeddingTenant": {"other": {}},
}  # fmt: skip
# Where the table's value would not be taken, or would be the default.
PARTICULAR: dict[str, Any] = {
    "store.kind": "sqlite",
    "tests.route": "all-minilm-l6-v2",
    "router.autoscaling.targetCPUUtilizationPercentage": 55,
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}],
    "podSecurityContext": {"runAsNonRoot": False},
    "containerSecurityContext": {"privileged": False},
}
STABLE = {"key": {"existingSecret": "there"}}
GROUNDS = ("default", "postgresql-ha", "minimal", "everything", "keda", "everything-static")


def at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return value


def ground(name: str) -> dict[str, Any]:
    """A scenario's values, with one router so that any store will do for `store.kind`."""
    return charts.merged(STABLE, charts.scenario(name))


def text(values: dict[str, Any]) -> str:
    whole = charts.render(values, charts.furnished())
    return json.dumps(whole.objects) + whole.notes


BASELINES = {name: text(ground(name)) for name in GROUNDS}


def other(value: Value, name: str) -> Any:
    path = ".".join(value.path)
    if path in PARTICULAR:
        return PARTICULAR[path]
    if value.kind != "true or false":
        return OTHER[value.kind]
    now: Any = charts.merged(at(value.path, value.default), ground(name))
    for part in value.path:
        now = now[part]
    return not now


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ".".join(value.path))
def test_each_value_changes_something(value: Value) -> None:
    """No value is there for nothing: in one of the scenarios another one gives other objects."""
    if value.path == ("store", "kind"):
        assert BASELINES["default"] != BASELINES["postgresql-ha"]
        return
    for name in GROUNDS:
        values = charts.merged(ground(name), at(value.path, other(value, name)))
        try:
            changed = text(values)
        except helm_python.HelmRenderError:
            # A switch that another value needs; another scenario has it.
            continue
        if changed != BASELINES[name]:
            return
    pytest.fail(f"{'.'.join(value.path)} changes nothing")


@pytest.mark.parametrize("path", sorted(map(str, reference_files(charts.ROOT))))
def test_the_reference_and_the_schema_are_up_to_date(path: str) -> None:
    """Both are what values.yaml gives (`make format` writes them)."""
    files = {str(name): content for name, content in reference_files(charts.ROOT).items()}
    assert (charts.ROOT / path).read_text(encoding="utf-8") == files[path]


def test_a_value_without_an_explanation_is_an_error(tmp_path: Path) -> None:
    """Nobody can add a value and leave it unexplained."""
    path = tmp_path / "values.yaml"
    path.write_text("# -- Known.\none: true\ntwo: 1\n")
    with pytest.raises(UnexplainedValueError, match="two"):
        read_values(path)


@pytest.mark.parametrize("name", charts.SCENARIOS)
def test_the_schema_takes_each_scenario(name: str) -> None:
    """What is shown in ci/ can be installed."""
    charts.chart().validate_schema(charts.scenario(name))


def test_kubernetes_schemas_find_mistakes() -> None:
    """The check of objects is no formality: a made-up field of each kind of schema is found."""
    service = charts.rendered("default").of("Service")[0]
    wrong = charts.merged(service, {"spec": {"port": 1}})
    assert charts.complaint(wrong, "1.33") is not None
    [space] = charts.rendered("default").of("VectorSpace")
    assert charts.complaint(charts.merged(space, {"spec": {"pooling": "mean"}}), "1.33") is not None
