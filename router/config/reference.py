"""The configuration reference, written from the models themselves.

`python -m router.config.reference FOLDER` writes configuration.md and its JSON Schema there.
"""

import json
import sys
import typing
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from router.config.settings import Settings

_INTRODUCTION = """\
# Configuration reference

Made from `router/config/settings.py` by `make format`; a test fails when it is out of date.
One YAML file; `embedway check --config FILE` validates it, `embedway check --schema` prints its
JSON Schema (also in [configuration.schema.json](configuration.schema.json)).
Unknown keys are refused with their path.
"""


def write_reference(folder: Path) -> None:
    """Write both files of the reference into a folder."""
    for name, text in reference_files().items():
        (folder / name).write_text(text, encoding="utf-8")


def reference_files() -> dict[str, str]:
    """Text of each file by its name."""
    schema = json.dumps(Settings.model_json_schema(), indent=2) + "\n"
    return {"configuration.md": _markdown(), "configuration.schema.json": schema}


def _markdown() -> str:
    parts = [_INTRODUCTION]
    for path, model in _sections("", Settings):
        title = f"`{path}`" if path else "The file"
        parts.append(f"## {title}\n\n{_first_line(model.__doc__)}\n")
        parts.append("| setting | type | default | meaning |\n|---|---|---|---|")
        parts.extend(_row(name, field) for name, field in model.model_fields.items())
        parts.append("")
    return "\n".join(parts)


def _sections(path: str, model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    found = [(path, model)]
    for name, field in model.model_fields.items():
        inner, suffix = _inner_model(field.annotation)
        if inner is not None:
            found.extend(_sections(f"{path}.{name}{suffix}".lstrip("."), inner))
    return found


def _inner_model(annotation: object) -> tuple[type[BaseModel] | None, str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    suffix = ".<name>" if origin is dict else "[]" if origin is list else ""
    for argument in arguments:
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, suffix
    return None, ""


def _row(name: str, field: FieldInfo) -> str:
    if field.is_required():
        default = "required"
    elif _inner_model(field.annotation)[0] is not None:
        default = ""
    else:
        default = f"`{json.dumps(field.get_default(call_default_factory=False))}`"
    meaning = (field.description or "").replace("\n", " ").replace("|", "\\|")
    return f"| `{name}` | {_type_name(field.annotation)} | {default} | {meaning} |"


def _type_name(annotation: object) -> str:  # noqa: PLR0911 - one a kind of type
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin in (typing.Union, UnionType):
        return " or ".join(_type_name(argument) for argument in arguments)
    if origin is typing.Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is dict:
        return f"mapping of {_type_name(arguments[1])}"
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(_type_name(argument) for argument in arguments)}]"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {
        str: "text",
        int: "integer",
        float: "number",
        Any: "anything",
        Decimal: "number",
        bool: "true or false",
        Path: "path",
    }
    return "null" if annotation is NoneType else names[annotation]  # type: ignore[index]


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
