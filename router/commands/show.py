"""Answers on standard output: a table for people, JSON for programs."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough that nothing is wrapped where nobody set a width.
_FILE_WIDTH = 200


def show(items: Sequence[BaseModel], columns: Sequence[str], *, as_json: bool) -> None:
    """A table of these columns; or everything, as a JSON list."""
    show_rows([item.model_dump(mode="json") for item in items], columns, as_json=as_json)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """The same for rows by their columns' names."""
    if as_json:
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    numbers = {name for row in rows for name in columns if _is_number(name, row[name])}
    for column in columns:
        heading = column.removesuffix("_at").replace("_", " ")
        table.add_column(heading, justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*(Text(_cell(column, row[column])) for column in columns))
    console.print(table)


def _is_number(column: str, value: object) -> bool:
    return isinstance(value, int | float) and not column.endswith("_at")


def _cell(column: str, value: object) -> str:
    if value is None:
        return "-"
    if column.endswith("_at") and isinstance(value, int):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, dict):
        return " ".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.9g}"
    return ", ".join(value) if isinstance(value, list) else str(value)
