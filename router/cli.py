"""The `embedway` command."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

import uvloop

from router import __version__
from router.app import App
from router.commands.quotas import add_quota_commands
from router.commands.tenants import add_key_commands, add_tenant_commands
from router.commands.usage import add_usage_commands
from router.config.environment import process_environment
from router.config.load import load_settings
from router.config.settings import Settings
from router.domain.clock import SystemClock
from router.domain.errors import EmbedwayError
from router.domain.keys import fingerprint, new_key
from router.telemetry.logs import Log


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
    up.set_defaults(run=_up)

    serve = commands.add_parser("serve", help="run the router alone")
    serve.add_argument("--config", type=Path, required=True, help="configuration file (YAML)")
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="validate a configuration")
    check.add_argument("--config", type=Path, help="configuration file (YAML)")
    check.add_argument("--schema", action="store_true", help="print the JSON Schema instead")
    check.set_defaults(run=_check)

    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True)
    new = keys.add_parser("new", help="make a key; print it and what the configuration holds of it")
    new.add_argument("--name", default="first", help="what the key is called in logs")
    new.set_defaults(run=_new_key)
    add_key_commands(keys)
    add_tenant_commands(commands)
    add_quota_commands(commands)
    add_usage_commands(commands)
    return parser


def _up(options: argparse.Namespace) -> int:
    # Imported here: the launcher's parts are slow to load, and only this command needs them.
    from router.up.command import UpOptions, up  # noqa: PLC0415

    chosen = UpOptions(
        model=options.model, host=options.host, port=options.port, grpc_port=options.grpc_port
    )
    _run(up(chosen, process_environment(), SystemClock()))
    return 0


def _serve(options: argparse.Namespace) -> int:
    _run(_serve_until_stopped(load_settings(options.config)))
    return 0


async def _serve_until_stopped(settings: Settings) -> None:
    clock = SystemClock()
    app = App(settings, process_environment(), clock, Log(clock))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await app.start()
    await stop.wait()
    await app.stop()


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


def _run(work: Coroutine[object, object, None]) -> None:
    with contextlib.closing(uvloop.new_event_loop()) as loop:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(work)


if __name__ == "__main__":
    sys.exit(main())
