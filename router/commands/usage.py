"""`embedway usage`: sums of the ledger as a table, JSON or CSV."""

import argparse
import sys

from router.administration.usage import as_csv, usage_rows
from router.commands.parsers import Parsers, moment, store_command
from router.commands.show import show_rows
from router.commands.store import opened
from router.config.environment import process_environment
from router.domain.clock import SystemClock
from router.domain.reports import DIMENSIONS, Dimension, UsageQuestion
from router.store.migrate import prepare
from router.store.usage import UsageReports

_DAY_S = 86_400
_DEFAULT_DAYS = 30
_FILTERS: tuple[Dimension, ...] = ("tenant", "key", "route", "target", "space", "status")
_SHOWN = ("requests", "inputs", "tokens", "cost_usd", "unpriced_requests", "mean_latency_ms")


def add_usage_command(commands: Parsers) -> None:
    """`embedway usage`."""
    parser = store_command(commands, "usage", "what was used, by anything", _usage)
    parser.add_argument(
        "--by", nargs="*", choices=DIMENSIONS, default=["tenant"], help="what to group by"
    )
    parser.add_argument("--since", type=moment, metavar="TIME", help="default: 30 days ago")
    parser.add_argument("--until", type=moment, metavar="TIME", help="default: now")
    for name in _FILTERS:
        parser.add_argument(f"--{name}", help=f"only usage of this {name}")
    parser.add_argument("--csv", action="store_true", help="print CSV")


def _usage(options: argparse.Namespace) -> int:
    until_s = options.until or int(SystemClock().wall_s()) + 1
    since_s = (until_s // _DAY_S - _DEFAULT_DAYS) * _DAY_S
    if options.since is not None:
        since_s = options.since
    chosen: dict[Dimension, str | None] = {name: getattr(options, name) for name in _FILTERS}
    only = {name: value for name, value in chosen.items() if value is not None}
    by = tuple(dict.fromkeys(options.by))
    with opened(options.config, process_environment()) as (_, engine):
        prepare(engine)
        sums = UsageReports(engine).sums(UsageQuestion(by, since_s, until_s, only))
    rows = usage_rows(by, sums)
    if options.csv:
        sys.stdout.write(as_csv(by, rows))
    else:
        show_rows(rows, (*by, *_SHOWN), as_json=options.json)
    return 0
