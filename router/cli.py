"""The `embedway` command."""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import uvloop
from rich.console import Console

from router import __version__
from router.commands.overlap import add_overlap_command
from router.commands.quotas import add_quota_commands
from router.commands.tenants import add_key_commands, add_tenant_commands
from router.commands.traces import add_trace_command
from router.commands.usage import add_usage_commands
from router.config.environment import process_environment
from router.config.load import load_settings
from router.config.settings import Settings
from router.domain.clock import SystemClock
from router.domain.errors import EmbedwayError
from router.domain.keys import fingerprint, new_key
from router.workers.serve import place_from, serve
from router.workers.supervisor import supervise

_Result = TypeVar("_Result")
_FILE_WIDTH = 200


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 1 after one sentence on standard error."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except EmbedwayError as error:
        print(f"embedway: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("embedway", description="Serve text embeddings.")
    parser.add_argument("--version", action="version", version=f"embedway {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start Triton, a model and the router on this machine")
    up.add_argument("--model", default="all_minilm_l6_v2", help="name, Hugging Face id or folder")
    up.add_argument("--host", default="127.0.0.1")
    up.add_argument("--port", type=int, default=8080, help="HTTP port of the router")
    up.add_argument("--grpc-port", type=int, default=8081, help="gRPC port of the router")
    up.add_argument(
        "--observe",
        action="store_true",
        help="with an OpenTelemetry collector, and Prometheus where it is installed",
    )
    up.set_defaults(run=_up)

    server = commands.add_parser("serve", help="run the router alone")
    server.add_argument("--config", type=Path, required=True, help="configuration file (YAML)")
    server.add_argument("--worker", help=argparse.SUPPRESS)
    server.set_defaults(run=_serve)

    check = commands.add_parser("check", help="validate a configuration")
    check.add_argument("--config", type=Path, help="configuration file (YAML)")
    check.add_argument("--schema", action="store_true", help="print the JSON Schema instead")
    check.set_defaults(run=_check)

    _add_fleet_commands(commands)

    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    new = keys.add_parser("new", help="make a key; print it and what the configuration holds of it")
    new.add_argument("--name", default="first", help="what the key is called in logs")
    new.set_defaults(run=_new_key)
    add_key_commands(keys)
    add_tenant_commands(commands)
    add_quota_commands(commands)
    add_usage_commands(commands)
    add_trace_command(commands)
    add_overlap_command(commands)
    return parser


def _add_fleet_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verify = commands.add_parser(
        "verify", help="hold targets against their space's reference, or one server against gates"
    )
    subject = verify.add_mutually_exclusive_group(required=True)
    subject.add_argument("--config", type=Path, help="every target of a configuration")
    subject.add_argument("--url", help="any server: http(s)://HOST/v1 or grpc://HOST:PORT")
    verify.add_argument("--model", help="with --url: the model's name there")
    verify.add_argument("--key-env", help="with --url: the environment variable of its key")
    verify.add_argument("--golden", type=Path, help="with --url: what was published of the model")
    verify.add_argument("--space", help="the space whose reference vectors are written")
    verify.add_argument("--write", type=Path, help="write them to this file")
    verify.set_defaults(run=_verify)

    explain = commands.add_parser("explain", help="which targets a request would go to, and why")
    explain.add_argument("--config", type=Path, required=True)
    explain.add_argument("--model", required=True, help="the route")
    explain.add_argument("--tokens", type=int, default=100, help="of the longest input")
    explain.add_argument("--text", help="an input, for rules about scripts and languages")
    explain.add_argument("--tenant", default="")
    explain.add_argument("--tag", help="value of x-embedway-tag")
    explain.add_argument("--input-type")
    explain.add_argument("--time", help="HH:MM in UTC; now, if not given")
    explain.add_argument("--live", action="store_true", help="ask the targets how they are")
    explain.set_defaults(run=_explain)

    compare = commands.add_parser("compare", help="measure every target of a route, side by side")
    subject = compare.add_mutually_exclusive_group(required=True)
    subject.add_argument("--config", type=Path, help="call the targets of a configuration, now")
    subject.add_argument("--of", metavar="URL", help="ask a running router what its targets did")
    compare.add_argument("--model", help="the route; with --of, all targets if not given")
    compare.add_argument("--key-env", help="with --of: the variable of a key that may administer")
    compare.add_argument("--minutes", type=int, choices=(5, 60), default=60, help="with --of")
    compare.add_argument("--seconds", type=float, default=5.0, help="for each target")
    compare.add_argument("--concurrency", type=int, default=4)
    compare.set_defaults(run=_compare)


def _verify(options: argparse.Namespace) -> int:
    from router.tools.verify import verify  # noqa: PLC0415 - see _up

    if options.url is not None:
        return _verify_running(options)
    if (options.space is None) != (options.write is None):
        print("embedway: --space and --write belong together", file=sys.stderr)
        return 1
    write = None if options.write is None else (options.space, options.write)
    settings, environment = load_settings(options.config), process_environment()
    return _status(verify(settings, environment, SystemClock(), _console(), write))


def _verify_running(options: argparse.Namespace) -> int:
    from router.tools.published import read_published  # noqa: PLC0415 - see _up
    from router.tools.verify_running import verify_running  # noqa: PLC0415 - see _up
    from router.up.assets import published_golden  # noqa: PLC0415 - see _up

    if options.model is None:
        print("embedway: --url needs --model", file=sys.stderr)
        return 1
    key = None
    if options.key_env is not None:
        key = process_environment().get(options.key_env)
        if key is None:
            print(f"embedway: the variable {options.key_env} is not set", file=sys.stderr)
            return 1
    path = options.golden or published_golden(options.model)
    published = None if path is None else read_published(path)
    return _status(verify_running(options.url, options.model, key, published, _console()))


def _explain(options: argparse.Namespace) -> int:
    from router.tools.explain import Question, explain  # noqa: PLC0415 - see _up

    question = Question(
        model=options.model,
        tokens=options.tokens,
        text=options.text,
        tenant=options.tenant,
        tag=options.tag,
        input_type=options.input_type,
        time=options.time,
        live=options.live,
    )
    settings, environment = load_settings(options.config), process_environment()
    _run(explain(settings, environment, SystemClock(), _console(), question))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from router.tools.compare import compare  # noqa: PLC0415 - see _up

    if options.of is not None:
        return _compare_running(options)
    if options.model is None:
        print("embedway: --config needs --model", file=sys.stderr)
        return 1
    settings, environment = load_settings(options.config), process_environment()
    return _status(
        compare(
            settings,
            environment,
            SystemClock(),
            _console(),
            options.model,
            options.seconds,
            options.concurrency,
        )
    )


def _compare_running(options: argparse.Namespace) -> int:
    from router.tools.compare_running import compare_running  # noqa: PLC0415 - see _up

    key = process_environment().get(options.key_env or "")
    if key is None:
        print("embedway: --of needs --key-env, a variable that is set", file=sys.stderr)
        return 1
    return _status(compare_running(options.of, key, _console(), options.model, options.minutes))


def _up(options: argparse.Namespace) -> int:
    # Imported here: the launcher's parts are slow to load, and only this command needs them.
    from router.up.command import UpOptions, up  # noqa: PLC0415

    chosen = UpOptions(
        model=options.model,
        host=options.host,
        port=options.port,
        grpc_port=options.grpc_port,
        observe=options.observe,
    )
    _run(up(chosen, process_environment(), SystemClock()))
    return 0


def _serve(options: argparse.Namespace) -> int:
    place = None
    if options.worker is not None:
        place = place_from(options.worker)
    elif load_settings(options.config).server.workers > 1:
        return _run(supervise(options.config, SystemClock()))
    _run(serve(options.config, place, process_environment(), SystemClock()))
    return 0


def _check(options: argparse.Namespace) -> int:
    if options.schema:
        print(json.dumps(Settings.model_json_schema(), indent=2))
        return 0
    if options.config is None:
        print("embedway: --config FILE is needed", file=sys.stderr)
        return 1
    settings = load_settings(options.config)
    counts = ", ".join(
        f"{len(getattr(settings, name))} {name}"
        for name in ("spaces", "targets", "routes", "tenants")
    )
    print(f"{options.config}: valid ({counts})")
    return 0


def _new_key(options: argparse.Namespace) -> int:
    key = new_key()
    print(f"key (shown once): {key}")
    print(f"for the configuration: {{name: {options.name}, sha256: {fingerprint(key)}}}")
    return 0


def _console() -> Console:
    """For tables: as wide as the terminal; wide enough for any name where nobody watches."""
    return Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)


def _status(work: Coroutine[object, object, bool]) -> int:
    """0 where the work says that all is well."""
    return 0 if _run(work) else 1


def _run(work: Coroutine[object, object, _Result]) -> _Result:
    with contextlib.closing(uvloop.new_event_loop()) as loop:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)


if __name__ == "__main__":
    sys.exit(main())
