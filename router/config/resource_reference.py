"""The reference of custom resources, written from their own schemas.

`python -m router.config.resource_reference FOLDER` writes resources.md there.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from router.config.cel import RULES
from router.config.crds import spec_schema
from router.config.resources import GROUP, KINDS, VERSION, Kind
from router.config.structural import Schema

_INTRODUCTION = f"""\
# Custom resources

Made from `router/config/resources.py` by `make format`; a test fails when it is out of date.
Resources of `{GROUP}/{VERSION}`, all of them namespaced; the chart `embedway-crds` installs their
definitions, and `kubectl explain` says the same. A setting of the
[configuration file](configuration.md) keeps its name, written as a cluster writes it: `max_tokens`
is `maxTokens`, `timeout_s` is `timeoutSeconds`.

## Status

`status.conditions` of every resource, each with the `observedGeneration` of its spec:

| condition | true when | otherwise, among other reasons |
|---|---|---|
| `Accepted` | its wish is valid and goes together with all others | `Invalid`, `NameTaken`, `VectorSpaceMismatch`, `VectorSpaceUnverified`: the message says what is wrong |
| `ResolvedRefs` | every resource and Secret that it names is there | `NotFound`, with the names |
| `Programmed` | every ready router serves it | `Pending`, also while the Secret that it names is yet to be mounted, `NoRouters`, `RouterRefused` with the router's own sentence, `WriteRefused` with the API server's, `LastGood`: routers go on with what was accepted before |
| `SpaceVerified` | routers have seen vectors of all its targets, and found them to be of the space | `VectorSpaceMismatch`, `Pending`, `NotMeasured`: trusted, and not seen yet, `VerificationOff` |
| `Ready` | it is accepted and programmed, and every ready router has a target of it that is up | the first thing in the way: `ObjectsNotMade` with the API server's sentence, `NoReplicas`, `RolloutFailed`, `SpaceUnverified`, `TargetsDown` with the routers' names |

A target is up when it is ready and of its space. The reference of a space, and its only target, are
trusted: they serve before `SpaceVerified` is true. A route needs one target that is up to be `Ready`;
its other targets are not called before they are verified. A target that goes down or comes up is
noticed within 15 seconds. An EmbeddingModel that is `Ready` may have a message of what the cluster
lacks for it. While a rollout is under way it stays `Ready`, for the reason `RollingOut`: replicas of before
serve vectors of the same space, and the message counts old ones and new ones. To see a change through, wait
until the reason is `Ready`. A rollout that stood still for longer than a model may take to start is
`RolloutFailed`, whoever serves meanwhile. `status.configurationGeneration` is the number of the router configuration from which on a
resource is served as it stands. An EmbeddingTenant has no `SpaceVerified`.

A VectorSpaceMigration has `Measured` in its place: false with `OverlapTooLow` or `MeasurementFailed`. Its
`Accepted` may be false with `SameSpace`, `Conflict` or `Circle`, and it is `Ready` where the phase that is
wished is reached, and done where it has an end. How to use it: [Move to another vector space](../how-to/migrate.md).
"""


def resource_reference() -> str:
    """Text of resources.md."""
    parts = [_INTRODUCTION]
    for kind in KINDS:
        parts += [f"## {kind.name}\n\n{kind.summary} `kubectl get {kind.short}`\n"]
        parts += ["| field of `spec` | type | default | meaning |\n|---|---|---|---|"]
        schema = spec_schema(kind)
        parts += list(_rows("", schema))
        parts += [""]
        parts += list(_rules(kind))
    return "\n".join(parts)


def _rows(path: str, schema: Schema) -> Iterator[str]:
    required = schema.get("required", [])
    for name, one in schema["properties"].items():
        default = "required" if name in required else ""
        if "default" in one:
            default = f"`{json.dumps(one['default'])}`"
        meaning = one.get("description", "").replace("|", "\\|")
        yield f"| `{path}{name}` | {_type(one)} | {default} | {meaning} |"
        inner, suffix = (one["items"], "[].") if one["type"] == "array" else (one, ".")
        if "properties" in inner:
            yield from _rows(f"{path}{name}{suffix}", inner)


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(f"`{word}`" for word in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"mapping of {_type(schema['additionalProperties'])}"
    if schema.get("format") == "date-time":
        return "time with zone"
    return str(schema["type"])


def _rules(kind: Kind) -> Iterator[str]:
    rules = RULES[kind.name]
    fixed = sorted(path for path, some in rules.items() if any("oldSelf" in o.holds for o in some))
    if fixed := [path for path in fixed if path]:
        yield f"Never changes: {', '.join(f'`{path}`' for path in fixed)}.\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) / "resources.md").write_text(resource_reference(), encoding="utf-8")
