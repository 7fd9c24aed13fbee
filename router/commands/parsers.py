"""What the commands' parsers have in common."""

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

Parsers = Any  # argparse's own collection of subcommands has no public name


def store_command(
    parsers: Parsers, name: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A command on the store that --config names, with --json."""
    parser: argparse.ArgumentParser = parsers.add_parser(name, help=about, description=about)
    parser.add_argument("--config", type=Path, required=True, help="configuration file (YAML)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def moment(text: str) -> int:
    """Seconds since the Unix epoch of an ISO 8601 time with its zone."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise argparse.ArgumentTypeError("the time needs its zone, as in 2027-01-31T12:00:00+00:00")
    return int(when.timestamp())
