"""`embedway overlap`: what two routes of a running router find, side by side."""

import argparse
import asyncio
import sys
from pathlib import Path

from rich.console import Console

from router.commands.parsers import Parsers
from router.config.environment import process_environment
from router.domain.errors import ConfigurationError
from router.tools.overlap import OverlapOptions, measure_overlap

_MOST_PLACES = 100


def add_overlap_command(commands: Parsers) -> None:
    """`embedway overlap`, of one router and two of its routes."""
    parser = commands.add_parser(
        "overlap", help="whether one route finds the documents that another finds"
    )
    parser.add_argument("--url", required=True, help="a running router: http(s)://HOST/v1")
    parser.add_argument("--key-env", help="the environment variable of a key that may embed")
    parser.add_argument("--model", required=True, help="the route that serves now")
    parser.add_argument("--other", required=True, help="the route that is to follow it")
    parser.add_argument("--space", help="the space that --model must answer in")
    parser.add_argument("--other-space", help="the space that --other must answer in")
    parser.add_argument("--documents", type=Path, required=True, help="a text a line, or .jsonl")
    parser.add_argument("--queries", type=Path, required=True, help="a text a line, or .jsonl")
    parser.add_argument("--k", type=int, default=10, help="how many of the best are compared")
    parser.add_argument("--at-least", type=float, help="mean recall, 0 to 1; below it exit with 1")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.set_defaults(run=_overlap)


def _overlap(options: argparse.Namespace) -> int:
    if not 1 <= options.k <= _MOST_PLACES:
        raise ConfigurationError(f"--k lies within 1 and {_MOST_PLACES}")
    key = None
    if options.key_env is not None:
        key = process_environment().get(options.key_env)
        if key is None:
            raise ConfigurationError(f"the variable {options.key_env} is not set")
    if not options.url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{options.url}: give http(s)://HOST/v1")
    chosen = OverlapOptions(
        url=options.url,
        key=key.strip() if key else None,
        routes=(options.model, options.other),
        spaces=(options.space, options.other_space),
        documents=options.documents,
        queries=options.queries,
        k=options.k,
        at_least=options.at_least,
        json_file=options.json,
    )
    console = Console(width=None if sys.stdout.isatty() else 200)
    return 0 if asyncio.run(measure_overlap(chosen, console)) else 1
