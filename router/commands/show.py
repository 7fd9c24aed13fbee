"""Answers on standard output: a table for people, JSON for programs."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

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
    if as_json:
        data = [item.model_dump(mode="json") for item in items]
        sys.stdout.write(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(column.removesuffix("_at"))
    for item in items:
        table.add_row(*(Text(_cell(column, getattr(item, column))) for column in columns))
    console.print(table)


def _cell(column: str, value: object) -> str:
    if value is None:
        return "-"
    if column.endswith("_at") and isinstance(value, int):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, dict):
        return " ".join(f"{name}={text}" for name, text in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
