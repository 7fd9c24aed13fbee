"""`embedway trace`: where the time and the money of one request went, as a tree."""

import argparse
import contextlib
import http.client
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
from rich.console import Console
from rich.text import Text

from router.administration.traces import TraceAdministration
from router.commands.parsers import Parsers
from router.commands.store import opened
from router.config.environment import process_environment
from router.domain.errors import ConfigurationError, InvalidInputError, UnknownRecordError
from router.store.migrate import prepare
from router.store.usage import UsageRecords
from router.telemetry import names
from router.telemetry.assembly import shelf_folder
from router.telemetry.shelf import find

_TIMEOUT_S = 15.0
_PORTS = {"http": 80, "https": 443}
# As the router takes them; nothing else can be the name of a request or trace.
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_FILE_WIDTH = 200
_BAR = 24
_NAME_WIDTH = 42
# Said of the whole in the head of the answer, or of no use to people.
_SILENT = frozenset({
    names.GEN_AI_OPERATION_NAME, names.GEN_AI_RESPONSE_MODEL, names.GEN_AI_REQUEST_MODEL,
    names.GEN_AI_REQUEST_ENCODING_FORMATS, names.SERVER_ADDRESS, names.SERVER_PORT, names.SPACE,
    names.URL_PATH, names.URL_SCHEME, names.HTTP_ROUTE, names.HTTP_REQUEST_METHOD,
    names.RPC_SYSTEM_NAME, names.RPC_METHOD, names.REQUEST_ID, names.COST, names.ERROR_TYPE,
    "gen_ai.embeddings.dimension.count",
})  # fmt: skip

Span = dict[str, Any]


def add_trace_command(commands: Parsers) -> None:
    """`embedway trace ID`, of a running router or of a configuration's files on this machine."""
    trace = commands.add_parser("trace", help="where the time and the money of a request went")
    trace.add_argument("id", help="its x-request-id, or the id of its trace")
    place = trace.add_mutually_exclusive_group(required=True)
    place.add_argument("--url", help="a running router: http(s)://HOST:PORT")
    place.add_argument("--config", type=Path, help="a configuration with its files on this machine")
    trace.add_argument(
        "--key-env",
        default="EMBEDWAY_ADMIN_KEY",
        help="with --url: the environment variable of a key for administration",
    )
    trace.add_argument("--json", action="store_true", help="print everything as JSON")
    trace.set_defaults(run=_trace)


def _trace(options: argparse.Namespace) -> int:
    if not _ID.fullmatch(options.id):
        raise InvalidInputError(
            "that is no id: give the x-request-id of an answer, or the trace id of a log line"
        )
    if options.url is not None:
        found = _asked(options.url, options.id, options.key_env)
    else:
        found = _looked_up(options.config, options.id)
    if options.json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False)
    show_trace(found, console)
    return 0


def _looked_up(config: Path, name: str) -> dict[str, Any]:
    with opened(config, process_environment()) as (settings, engine):
        prepare(engine)
        folder = shelf_folder(settings.store.state)
        traces = TraceAdministration(lambda one: find(folder, one), UsageRecords(engine))
        return traces.trace(name)


def _asked(url: str, name: str, key_env: str) -> dict[str, Any]:
    key = process_environment().get(key_env)
    if not key:
        raise ConfigurationError(f"the variable {key_env} holds no key: name one with --key-env")
    parts, port = urlsplit(url), None
    with contextlib.suppress(ValueError):
        port = parts.port or _PORTS.get(parts.scheme)
    if parts.hostname is None or port is None:
        raise InvalidInputError("--url must be http(s)://HOST:PORT")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, port, timeout=_TIMEOUT_S)
    path = f"{parts.path.rstrip('/')}/admin/v1/traces/{quote(name, safe='')}"
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        document = orjson.loads(body)
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"no router answers at {url}") from error
    finally:
        connection.close()
    if status != http.client.OK:
        raise UnknownRecordError(str(document.get("error", {}).get("message", status)))
    return dict(document)


def show_trace(found: dict[str, Any], console: Console) -> None:
    """Print the head, the tree of spans, and what a call cost."""
    console.print(f"request {found['request_id']}   trace {found['trace_id'] or '-'}")
    if found["record"] is not None:
        console.print(_money(found["record"]))
    if found["spans"] is None:
        console.print(
            "Its trace was not kept here: it was neither sampled nor slow, refused, failed or "
            "answered by a fallback (telemetry.traces says which are)."
        )
        return
    spans = sorted(found["spans"], key=lambda span: span["begun_ns"])
    ids = {span["span_id"] for span in spans}
    roots = [span for span in spans if span["parent_id"] not in ids]
    for root in roots:
        _print_tree(console, root, root, spans)


def _print_tree(
    console: Console, span: Span, root: Span, spans: list[Span], above: str = "", branch: str = ""
) -> None:
    """A line for a span and those below it; `above` draws the lines of older branches."""
    # However long: a terminal wraps it, a file keeps it whole.
    console.print(_line(above + branch + span["name"], span, root), soft_wrap=True)
    below = [one for one in spans if one["parent_id"] == span["span_id"]]
    above += {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
    for one in below:
        _print_tree(console, one, root, spans, above, "└─ " if one is below[-1] else "├─ ")


def _line(name: str, span: Span, root: Span) -> Text:
    """`name  12.3 ms  ··██····  what it says`: the bar shows when, of the whole request."""
    took_ns = span["ended_ns"] - span["begun_ns"]
    whole_ns = max(1, root["ended_ns"] - root["begun_ns"])
    start = int(_BAR * (span["begun_ns"] - root["begun_ns"]) / whole_ns)
    start = min(max(start, 0), _BAR - 1)
    length = min(_BAR - start, max(1, round(_BAR * took_ns / whole_ns)))
    bar = "·" * start + "█" * length + "·" * (_BAR - start - length)
    line = Text(f"{name:<{_NAME_WIDTH}.{_NAME_WIDTH}} {took_ns / 1e6:>9,.2f} ms  {bar}  ")
    return line.append(_said(span), style="red" if span["is_error"] else "")


def _said(span: Span) -> str:
    own = f"{names.OWN}{span['name']}."
    words = []
    for name, value in span["attributes"].items():
        if name in _SILENT:
            continue
        short = name.removeprefix(own).removeprefix(names.OWN).removeprefix("gen_ai.usage.")
        text = "; ".join(value) if isinstance(value, list) else str(value)
        words.append(f"{short}={text}")
    if span["links"]:
        words.append(f"shared with {len(span['links'])} call(s)")
    return "  ".join(words)


def _money(record: dict[str, Any]) -> str:
    cost = record["cost_usd"]
    price = "no price is known" if cost is None else f"{cost} USD"
    cached = record["cached_tokens"]
    saved = f", {cached:,} of them computed by nobody for it" if cached else ""
    return (
        f"{record['tenant']}/{record['key_name']} on {record['route']}: {record['status']}, "
        f"{record['inputs']:,} input(s), {record['tokens']:,} tokens{saved}, {price}, "
        f"{record['attempts']} call(s) to {record['target'] or 'no target'}, "
        f"{record['latency_us'] / 1000:,.2f} ms from reservation to settlement"
    )
