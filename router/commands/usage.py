"""`embedway usage` and `embedway db`, on the database that the configuration names."""

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.administration.usage import Row, UsageAdministration, as_csv
from router.config.environment import process_environment
from router.config.load import load_settings, store_url
from router.domain.clock import SystemClock
from router.domain.reports import DIMENSIONS
from router.store.engine import open_engine
from router.store.migrate import prepare, upgrade
from router.store.usage import UsageReports

# Wide enough that nothing is wrapped where nobody set a width.
_FILE_WIDTH = 200

Parsers = Any  # argparse's own collection of subcommands has no public name


def add_usage_commands(commands: Parsers) -> None:
    """`embedway usage`, `embedway db upgrade`."""
    usage = commands.add_parser("usage", help="what was used, by anything")
    usage.add_argument("--config", type=Path, required=True, help="configuration file (YAML)")
    usage.add_argument("--by", default="tenant", help=f"some of {','.join(DIMENSIONS)}")
    usage.add_argument("--since", metavar="TIME", help="as 2026-11-01; default: 30 days ago")
    usage.add_argument("--until", metavar="TIME", help="default: now")
    usage.add_argument(
        "--only", action="append", default=[], metavar="NAME=VALUE", help="as tenant=acme"
    )
    usage.add_argument(
        "--format",
        choices=("table", "csv", "json"),
        help="default: a table on a terminal, else CSV",
    )
    usage.set_defaults(run=_usage)
    database = commands.add_parser("db", help="the database").add_subparsers(required=True)
    to_head = database.add_parser("upgrade", help="make or upgrade its tables, routers running")
    to_head.add_argument("--config", type=Path, required=True, help="configuration file (YAML)")
    to_head.set_defaults(run=_upgrade)


def _usage(options: argparse.Namespace) -> int:
    words = {"by": options.by, "since": options.since, "until": options.until}
    words |= dict(item.partition("=")[::2] for item in options.only)
    asked = {name: value for name, value in words.items() if value is not None}
    engine = open_engine(_url(options.config))
    try:
        prepare(engine)
        rows = UsageAdministration(UsageReports(engine), SystemClock()).report(asked)
    finally:
        engine.dispose()
    kind = options.format or ("table" if sys.stdout.isatty() else "csv")
    if kind == "table":
        _print_table(rows)
    elif kind == "csv":
        sys.stdout.write(as_csv(asked, rows))
    else:
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0


def _upgrade(options: argparse.Namespace) -> int:
    engine = open_engine(_url(options.config))
    try:
        revision = upgrade(engine)
    finally:
        engine.dispose()
    sys.stdout.write(f"the database is at revision {revision}\n")
    return 0


def _url(config: Path) -> str:
    return store_url(load_settings(config).store, process_environment())


def _print_table(rows: list[Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name, value in rows[0].items() if rows else ():
        is_figure = isinstance(value, int) or name == "cost_usd"
        table.add_column(name.replace("_", " "), justify="right" if is_figure else "left")
    for row in rows:
        table.add_row(
            *(Text(f"{value:,}" if isinstance(value, int) else value) for value in row.values())
        )
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(
        table if rows else "no usage in that time"
    )
