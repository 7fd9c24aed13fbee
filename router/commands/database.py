"""`embedway db`: the schema, brought up before a release that needs it."""

import argparse
import sys
from pathlib import Path

from router.commands.parsers import Parsers
from router.commands.store import opened
from router.config.environment import process_environment
from router.store.migrate import upgrade


def add_database_commands(commands: Parsers) -> None:
    """`embedway db upgrade`."""
    database = commands.add_parser("db", help="the database").add_subparsers(required=True)
    about = "bring the schema to this release; the previous one still runs on it"
    parser = database.add_parser("upgrade", help=about, description=about)
    parser.add_argument("--config", type=Path, required=True, help="configuration file (YAML)")
    parser.set_defaults(run=_upgrade)


def _upgrade(options: argparse.Namespace) -> int:
    with opened(options.config, process_environment()) as (_, engine):
        sys.stdout.write(f"the database is at revision {upgrade(engine)}\n")
    return 0
