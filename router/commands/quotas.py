"""`embedway quotas`, on the database that the configuration names."""

import argparse
from collections.abc import Iterator

from router.administration.quotas import QuotaAdministration
from router.api.admin_answers import quota_answer
from router.api.admin_bodies import QuotaBody
from router.commands.parsers import Parsers, store_command
from router.commands.show import show
from router.commands.store import quota_administration, refusing
from router.config.environment import process_environment
from router.domain.clock import SystemClock
from router.domain.quotas import Quota
from router.domain.tenants import Source

_PAGE = 1000
_COLUMNS = ("id", "source", "scope", "subject", "unit", "limit", "window", "mode")


def add_quota_commands(commands: Parsers) -> None:
    """`embedway quotas set · list · remove`."""
    quotas = commands.add_parser("quotas", help="limits and budgets").add_subparsers(required=True)
    put = store_command(quotas, "set", "make a quota, or change its limit", _set)
    put.add_argument("scope", choices=("tenant", "key", "route"))
    put.add_argument("subject", help="a tenant, TENANT:KEY, or a route")
    put.add_argument("unit", choices=("requests", "tokens", "usd"))
    put.add_argument("limit", help="how much of it in a window")
    put.add_argument("window", choices=("minute", "hour", "day", "month", "total"))
    put.add_argument("--mode", choices=("hard", "soft", "shadow"), default="hard")
    store_command(quotas, "list", "all quotas, of file and store", _list)
    remove = store_command(quotas, "remove", "remove a quota", _remove)
    remove.add_argument("id", help="as `embedway quotas list` shows it")


def _set(options: argparse.Namespace) -> int:
    with quota_administration(options.config, process_environment(), SystemClock()) as ours:
        with refusing():
            body = QuotaBody(
                scope=options.scope,
                subject=options.subject,
                unit=options.unit,
                limit=options.limit,
                window=options.window,
                mode=options.mode,
            )
        _show([(ours.put(body.quota()), Source.API)], options)
    return 0


def _list(options: argparse.Namespace) -> int:
    with quota_administration(options.config, process_environment(), SystemClock()) as ours:
        _show(list(_all(ours)), options)
    return 0


def _remove(options: argparse.Namespace) -> int:
    with quota_administration(options.config, process_environment(), SystemClock()) as ours:
        ours.remove(options.id)
    return 0


def _all(ours: QuotaAdministration) -> Iterator[tuple[Quota, Source]]:
    page = ours.quotas("", _PAGE)
    while page:
        yield from page
        page = ours.quotas(quota_answer(*page[-1]).id, _PAGE)


def _show(quotas: list[tuple[Quota, Source]], options: argparse.Namespace) -> None:
    show([quota_answer(*item) for item in quotas], _COLUMNS, as_json=options.json)
