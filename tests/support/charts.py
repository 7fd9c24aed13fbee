"""The chart rendered by Helm's own engine, and Kubernetes' own schemas to hold objects against."""

import functools
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate.utils as kubernetes_schemas
import yaml
from jsonschema import Draft7Validator

from chart_kinds import closed_structure

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "embedway"
DEFINITIONS = ROOT / "helm" / "embedway-crds" / "templates"
SCENARIOS = {
    path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))
}
RELEASE, NAMESPACE = "demo", "space"
KUBERNETES = ("1.29", "1.33", "1.37")
# Kinds of others, whose schemas no package has.
OTHERS = {
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PodMonitor", "PrometheusRule"},
    "keda.sh/v1alpha1": {"ScaledObject"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute", "GRPCRoute"},
}

Object = dict[str, Any]

# Words in braces are Prometheus' and Grafana's, and none of Helm's.
RULES: Object = {
    "groups": [
        {
            "name": "furnished",
            "rules": [
                {
                    "alert": "Furnished",
                    "expr": "up == 0",
                    "annotations": {"summary": "{{ $labels.instance }} is {{ $value }}"},
                }
            ],
        }
    ]
}
DASHBOARD: Object = {"title": "Furnished", "panels": [{"legendFormat": "{{target}}"}]}

# Each look-up would read a megabyte of JSON anew.
kubernetes_schemas.schema_contents = functools.cache(kubernetes_schemas.schema_contents)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What an installation consists of."""

    objects: tuple[Object, ...]
    notes: str

    def of(self, kind: str) -> list[Object]:
        """Objects of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def get(self, kind: str, name: str) -> Object:
        """The one object; KeyError."""
        for one in self.of(kind):
            if one["metadata"]["name"] == f"{RELEASE}-{name}":
                return one
        raise KeyError(f"{kind} {name}")

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Templates of pods, with whose they are."""
        for one in self.objects:
            name = f"{one['kind']} {one['metadata']['name']}"
            if one["kind"] == "Pod":
                yield name, one
            elif "template" in one.get("spec", {}):
                yield name, one["spec"]["template"]
            elif one["metadata"]["name"].endswith("-operator-templates"):
                yield name, yaml.safe_load(one["data"]["triton-pod.yaml"])


@functools.cache
def chart() -> helm_python.Chart:
    """The chart, loaded."""
    return helm_python.Chart.load(CHART)


def scenario(name: str) -> Object:
    """Values of one of the chart's scenarios."""
    values: Object = yaml.safe_load(SCENARIOS[name].read_text(encoding="utf-8"))
    return values


@functools.cache
def furnished() -> helm_python.Chart:
    """The chart with one more rule and one more dashboard, which it ships as they stand."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "embedway"
        shutil.copytree(CHART, copy)
        (copy / "files/rules/furnished.yaml").write_text(yaml.safe_dump(RULES), "utf-8")
        (copy / "files/dashboards/furnished.json").write_text(json.dumps(DASHBOARD), "utf-8")
        return helm_python.Chart.load(copy)


def render(values: Object, of: helm_python.Chart | None = None, **release: Any) -> Rendered:
    """The objects of an installation with these values; Helm's errors where they are refused."""
    files = (of or chart()).render(values, name=RELEASE, namespace=NAMESPACE, **release)
    objects: list[Object] = []
    notes = ""
    for path, text in files.items():
        if path.endswith("NOTES.txt"):
            notes = text
        else:
            objects.extend(filter(None, yaml.safe_load_all(text)))
    return Rendered(tuple(objects), notes)


@functools.cache
def rendered(name: str) -> Rendered:
    """A scenario's objects."""
    return render(scenario(name))


def merged(under: Object, over: Object) -> Object:
    """Values with others laid over them, as Helm does."""
    result = json.loads(json.dumps(under))
    for name, value in over.items():
        old = result.get(name)
        result[name] = (
            merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return result


def complaint(one: Object, version: str) -> str | None:
    """What Kubernetes of a version, or our own definition, has against an object."""
    group = one["apiVersion"]
    if one["kind"] in OTHERS.get(group, ()):
        return None
    if group == "embedway.dev/v1alpha1":
        errors = [error.message for error in _definition(one["kind"]).iter_errors(one["spec"])]
        return "; ".join(errors) or None
    try:
        kubernetes_schemas.validate(one, version, strict=True)
    except kubernetes_schemas.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


@functools.cache
def _definition(kind: str) -> Draft7Validator:
    for path in DEFINITIONS.glob("*.yaml"):
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
        if whole["spec"]["names"]["kind"] == kind:
            schema = whole["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            return Draft7Validator(closed_structure(schema["properties"]["spec"]))
    raise KeyError(kind)
