"""`embedway tenants` and `embedway keys`, on the database that the configuration names."""

import argparse
import sys
from collections.abc import Callable, Iterator

from router.administration.tenants import Administration
from router.api.admin_answers import key_answer, shown_key_answer, tenant_answer
from router.api.admin_bodies import NewKeyBody, NewTenantBody, RotationBody
from router.commands.parsers import Parsers, moment, store_command
from router.commands.show import show
from router.commands.store import administration, refusing
from router.config.environment import process_environment
from router.domain.clock import Clock, SystemClock
from router.domain.errors import InvalidInputError
from router.domain.tenants import KeyChange, KeyDescription, Tenant, TenantChange
from router.domain.types import Scope

_PAGE = 1000
_TENANT_COLUMNS = ("name", "status", "source", "tags", "created_at")
_KEY_COLUMNS = ("name", "status", "source", "scopes", "tags", "created_at", "ends_at")

Work = Callable[[Administration, argparse.Namespace, Clock], None]


def add_tenant_commands(commands: Parsers) -> None:
    """`embedway tenants create · list · disable · enable`."""
    tenants = commands.add_parser("tenants", help="who pays").add_subparsers(required=True)
    create = _command(tenants, "create", "make a tenant", _create_tenant)
    create.add_argument("name")
    create.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE")
    _command(tenants, "list", "all tenants, of file and store", _list_tenants)
    disable = _command(tenants, "disable", "refuse all keys of a tenant", _change_tenant)
    disable.add_argument("name")
    disable.set_defaults(is_disabled=True)
    enable = _command(tenants, "enable", "take them again", _change_tenant)
    enable.add_argument("name")
    enable.set_defaults(is_disabled=False)


def add_key_commands(keys: Parsers) -> None:
    """`embedway keys create · list · rotate · disable · enable`."""
    create = _command(keys, "create", "make a key and print it, once", _create_key)
    _name_key(create)
    scopes = [scope.value for scope in Scope]
    create.add_argument(
        "--scope", action="append", choices=scopes, help="what it is for (default: embed)"
    )
    create.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE")
    create.add_argument(
        "--expires", type=moment, metavar="TIME", help="as 2027-01-31T12:00:00+00:00"
    )
    listed = _command(keys, "list", "a tenant's keys", _list_keys)
    listed.add_argument("tenant")
    rotate = _command(keys, "rotate", "give a key a new value and print it, once", _rotate_key)
    _name_key(rotate)
    rotate.add_argument(
        "--grace-s", type=float, default=86_400.0, help="seconds that the old value goes on"
    )
    disable = _command(keys, "disable", "refuse a key", _change_key)
    _name_key(disable)
    disable.set_defaults(is_disabled=True)
    enable = _command(keys, "enable", "take it again", _change_key)
    _name_key(enable)
    enable.set_defaults(is_disabled=False)


def _command(parsers: Parsers, name: str, about: str, work: Work) -> argparse.ArgumentParser:
    return store_command(parsers, name, about, lambda options: _run(work, options))


def _name_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tenant")
    parser.add_argument("name", help="the key's name")


def _run(work: Work, options: argparse.Namespace) -> int:
    clock = SystemClock()
    with administration(options.config, process_environment(), clock) as ours, refusing():
        work(ours, options, clock)
    return 0


def _create_tenant(ours: Administration, options: argparse.Namespace, clock: Clock) -> None:
    del clock
    body = NewTenantBody(name=options.name, tags=_tags(options.tag))
    _show_tenants([ours.create_tenant(body.name, body.tags)], options)


def _list_tenants(ours: Administration, options: argparse.Namespace, clock: Clock) -> None:
    del clock

    def pages() -> Iterator[Tenant]:
        page = ours.tenants("", _PAGE)
        while page:
            yield from page
            page = ours.tenants(page[-1].id, _PAGE)

    _show_tenants(list(pages()), options)


def _change_tenant(ours: Administration, options: argparse.Namespace, clock: Clock) -> None:
    del clock
    change = TenantChange(is_disabled=options.is_disabled)
    _show_tenants([ours.change_tenant(options.name, change)], options)


def _create_key(ours: Administration, options: argparse.Namespace, clock: Clock) -> None:
    body = NewKeyBody(
        name=options.name,
        scopes=options.scope or [Scope.EMBED],
        tags=_tags(options.tag),
        expires_at=options.expires,
    )
    made, value = ours.create_key(body.new(options.tenant))
    _show_value(made, value, options, clock)


def _list_keys(ours: Administration, options: argparse.Namespace, clock: Clock) -> None:
    def pages() -> Iterator[KeyDescription]:
        page = ours.keys(options.tenant, "", _PAGE)
        while page:
            yield from page
            page = ours.keys(options.tenant, page[-1].id, _PAGE)

    _show_keys(list(pages()), options, clock)


def _rotate_key(ours: Administration, options: argparse.Namespace, clock: Clock) -> None:
    body = RotationBody(grace_s=options.grace_s)
    rotated, value = ours.rotate_key(options.tenant, options.name, body.grace_s)
    _show_value(rotated, value, options, clock)


def _change_key(ours: Administration, options: argparse.Namespace, clock: Clock) -> None:
    change = KeyChange(is_disabled=options.is_disabled)
    _show_keys([ours.change_key(options.tenant, options.name, change)], options, clock)


def _show_tenants(tenants: list[Tenant], options: argparse.Namespace) -> None:
    answers = [tenant_answer(tenant) for tenant in tenants]
    show(answers, _TENANT_COLUMNS, as_json=options.json)


def _show_keys(keys: list[KeyDescription], options: argparse.Namespace, clock: Clock) -> None:
    answers = [key_answer(key, clock.wall_s()) for key in keys]
    show(answers, _KEY_COLUMNS, as_json=options.json)


def _show_value(key: KeyDescription, value: str, options: argparse.Namespace, clock: Clock) -> None:
    show([shown_key_answer(key, value, clock.wall_s())], _KEY_COLUMNS, as_json=options.json)
    if not options.json:
        sys.stdout.write(f"key (shown once): {value}\n")


def _tags(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if not all(separator for _, separator, _ in pairs):
        raise InvalidInputError("--tag takes NAME=VALUE")
    return {name: value for name, _, value in pairs}
