"""Encoded spans as data again, for people. Source: opentelemetry-proto 1.5, trace.proto."""

import struct
from dataclasses import dataclass, field
from typing import Any

from router.telemetry.otlp import fields

KINDS = {1: "internal", 2: "server", 3: "client"}
_ERROR = 2


@dataclass(slots=True)
class ReadSpan:
    """A span; times in nanoseconds since the Unix epoch, ids in hexadecimal."""

    span_id: str = ""
    parent_id: str = ""
    name: str = ""
    kind: str = "internal"
    begun_ns: int = 0
    ended_ns: int = 0
    is_error: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
    links: list[dict[str, str]] = field(default_factory=list)


def read_spans(data: bytes) -> list[ReadSpan]:
    """The spans of a kept trace, in the order in which they were written; ValueError."""
    return [_span(part) for number, part in fields(data) if number == 2 and isinstance(part, bytes)]


def _span(data: bytes) -> ReadSpan:
    span = ReadSpan()
    for number, value in fields(data):
        if isinstance(value, bytes):
            _take_bytes(span, number, value)
        elif number == 6:
            span.kind = KINDS.get(value, "internal")
        elif number == 7:
            span.begun_ns = value
        elif number == 8:
            span.ended_ns = value
    return span


def _take_bytes(span: ReadSpan, number: int, value: bytes) -> None:
    if number == 2:
        span.span_id = value.hex()
    elif number == 4:
        span.parent_id = value.hex()
    elif number == 5:
        span.name = value.decode()
    elif number == 9:
        key, content = _pair(value)
        span.attributes[key] = content
    elif number == 13:
        ids = {inner: part for inner, part in fields(value) if isinstance(part, bytes)}
        span.links.append({"trace_id": ids[1].hex(), "span_id": ids[2].hex()})
    elif number == 15:
        span.is_error = any(inner == 3 and code == _ERROR for inner, code in fields(value))


def _pair(data: bytes) -> tuple[str, Any]:
    parts = dict(fields(data))
    key, value = parts.get(1, b""), parts.get(2, b"")
    assert isinstance(key, bytes)
    return key.decode(), _value(value if isinstance(value, bytes) else b"")


def _value(data: bytes) -> Any:  # noqa: ANN401 - whatever an attribute may be
    for number, value in fields(data):
        if isinstance(value, bytes):
            if number == 1:
                return value.decode()
            return [_value(item) for _, item in fields(value) if isinstance(item, bytes)]
        if number == 2:
            return bool(value)
        if number == 4:
            return struct.unpack("<d", value.to_bytes(8, "little"))[0]
        return value - (1 << 64) if value >> 63 else value
    return None
