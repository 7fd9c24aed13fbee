"""Writes what follows from the chart's values.yaml: its schema, and their page in the reference.

`python deploy/chart/chart_reference.py` from the repository's root, as `make format` does.
"""

import json
from pathlib import Path

from chart_kinds import Schema, configuration_definitions, schema_of
from chart_values import Value, read_values

_CHART = Path("helm/embedway")
_DEFINITIONS = Path("helm/embedway-crds/templates")
_INTRODUCTION = """\
# Values of the chart

Made from `helm/embedway/values.yaml` by `make format`; a test fails when it is out of date.
Values that are not in this list are refused. The specs of spaces, models, providers, routes and
tenants are those of the [custom resources](../../helm/embedway-crds/templates);
`router.configuration` takes the words of the [configuration file](configuration.md).

| value | kind | default | meaning |
|---|---|---|---|
"""


def reference_files(root: Path) -> dict[Path, str]:
    """Text of each file by its path below `root`, the repository's."""
    values = read_values(root / _CHART / "values.yaml")
    schema = json.dumps(values_schema(values, root / _DEFINITIONS), indent=1) + "\n"
    return {
        _CHART / "values.schema.json": schema,
        Path("docs/reference/chart-values.md"): _markdown(values),
    }


def values_schema(values: list[Value], definitions: Path) -> Schema:
    """A JSON Schema of draft 7 in which no section takes a value that is not explained."""
    root: Schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        # Helm itself hands it down to a chart that is part of another.
        "properties": {"global": {"type": "object"}},
        "definitions": configuration_definitions(),
    }
    for value in values:
        section = root
        for name in value.path[:-1]:
            section = section["properties"].setdefault(
                name, {"type": "object", "additionalProperties": False, "properties": {}}
            )
        described = {"description": value.meaning}
        section["properties"][value.path[-1]] = described | schema_of(value.kind, definitions)
    return root


def _markdown(values: list[Value]) -> str:
    rows = []
    for value in values:
        default = json.dumps(value.default, ensure_ascii=False)
        meaning = value.meaning.replace("|", "\\|")
        rows.append(f"| `{'.'.join(value.path)}` | {value.kind} | `{default}` | {meaning} |")
    return _INTRODUCTION + "\n".join(rows) + "\n"


if __name__ == "__main__":
    for path, text in reference_files(Path()).items():
        path.write_text(text, encoding="utf-8")
