"""Reads a chart's values.yaml with the comments that explain it.

A value is explained by the line above it: `# -- (kind) Words.`; without a kind it is told from the
default. A mapping without such a line is a section, and its values are explained one by one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_COMMENT = re.compile(r"^\s*# -- (?:\((?P<kind>[^)]*)\) )?(?P<text>.+)$")


@dataclass(frozen=True, slots=True)
class Value:
    """One value: `path` from the top, `kind` as written or told from `default`, and its meaning."""

    path: tuple[str, ...]
    kind: str
    default: Any
    meaning: str


class UnexplainedValueError(Exception):
    """A value without a comment, or whose kind cannot be told."""


def read_values(path: Path) -> list[Value]:
    """Every value of a values.yaml, in its order; UnexplainedValueError names what is missing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    root = yaml.compose("\n".join(lines))
    assert isinstance(root, yaml.MappingNode)
    return list(_values((), root, lines))


def _values(path: tuple[str, ...], section: yaml.MappingNode, lines: list[str]) -> Iterator[Value]:
    for key, node in section.value:
        here = (*path, str(key.value))
        comment = _COMMENT.match(lines[key.start_mark.line - 1]) if key.start_mark.line else None
        if comment is not None:
            default = yaml.safe_load(yaml.serialize(node))
            kind = comment["kind"] or _kind_of(default)
            if kind is None:
                raise UnexplainedValueError(
                    f"{'.'.join(here)}: its kind is not told by its default"
                )
            yield Value(here, kind, default, comment["text"])
        elif isinstance(node, yaml.MappingNode) and node.value:
            yield from _values(here, node, lines)
        else:
            raise UnexplainedValueError(f"{'.'.join(here)}: has no comment `# --` above it")


def _kind_of(default: object) -> str | None:
    if isinstance(default, bool):
        return "true or false"
    return "text" if isinstance(default, str) else None
