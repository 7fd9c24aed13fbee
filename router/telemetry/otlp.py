"""OTLP's protobuf, written and read by hand: a span costs 3 µs so, and tens with the SDK.

Only what spans need; a test reads everything back with OpenTelemetry's own classes.
Source: opentelemetry-proto 1.5, trace/v1/trace.proto, common/v1/common.proto; protobuf wire format.
"""

from collections.abc import Iterator, Sequence
from struct import Struct

Value = str | bool | int | float | Sequence[str]

# Kinds of spans, and the status of one that ended badly.
INTERNAL, SERVER, CLIENT = 1, 2, 3
_DOUBLE = Struct("<d")
# Keys: ExportTraceServiceRequest.resource_spans, and ResourceSpans.scope_spans.
_RESOURCE_SPANS, _SCOPE_SPANS = b"\x0a", b"\x12"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# A Span's ids, without and with a parent's, and its times.
_ROOT = Struct("<20s8sBQBQ")
_CHILD = Struct("<20s8s10sBQBQ")
_LINK = Struct("<4s16s2s8s")
# Span.status {code: ERROR}; and Span.flags: the trace is sampled, and the parent is known to be in
# this process or in another one.
ERROR_STATUS = b"\x7a\x02\x18\x02"
LOCAL_FLAGS, REMOTE_FLAGS = b"\x85\x01\x01\x01\0\0", b"\x85\x01\x01\x03\0\0"


def _encoded(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


# Hardly a number, a message or a text's length is more.
_SMALL = [_encoded(number) for number in range(4096)]


def varint(number: int) -> bytes:
    """A number as protobuf writes it; negative ones as 64 bits in two's complement."""
    return _SMALL[number] if 0 <= number < len(_SMALL) else _encoded(number)


def field(number: int, payload: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return varint(number << 3 | _BYTES) + varint(len(payload)) + payload


def attribute(name: str, value: Value, number: int = 9) -> bytes:
    """A KeyValue as field `number`, by default of a Span."""
    return field(number, field(1, name.encode()) + field(2, _any(value)))


class TextAttribute:
    """An attribute of a Span whose text is another one each time."""

    __slots__ = ("_heads", "_name")

    def __init__(self, name: str) -> None:
        self._name = field(1, name.encode())
        self._heads: dict[int, bytes] = {}

    def __call__(self, value: str) -> bytes:
        """The KeyValue; of a name and a length all but the text is known."""
        text = value.encode("utf-8", "replace")
        head = self._heads.get(len(text))
        if head is None:
            whole = field(9, self._name + field(2, field(1, text)))
            head = self._heads[len(text)] = whole[: len(whole) - len(text)]
        return head + text


def _any(value: Value) -> bytes:
    if isinstance(value, str):
        return field(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10" + varint(value)
    if isinstance(value, int):
        return b"\x18" + varint(value)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    return field(5, b"".join(field(1, _any(item)) for item in value))


def span_constants(name: str, kind: int, attributes: dict[str, Value] | None = None) -> bytes:
    """What all spans of one name have in common, to be encoded once."""
    constants = field(5, name.encode()) + b"\x30" + varint(kind)
    return constants + b"".join(attribute(*one) for one in (attributes or {}).items())


# What a span says, encoded, behind the key and the length of a whole Span that has a parent.
Frame = tuple[bytes, bytes]


def frame(rest: bytes, more: int = 0) -> Frame:
    """The fields of a Span but ids and times, once for many; `more` bytes are to come behind."""
    return b"\x12" + varint(_CHILD.size + len(rest) + more), rest


class Spans:
    """The spans of one trace, one behind the other, as fields of ScopeSpans.

    What they say is encoded elsewhere, mostly once for many; here are ids and times alone.
    """

    __slots__ = ("_ids", "_offset_ns", "_parts", "_state", "count")

    def __init__(self, trace_id: bytes, offset_ns: int, state: bytes = b"") -> None:
        """`offset_ns` leads from the clock of the spans to nanoseconds since the Unix epoch.

        `state` is what all of them say of the trace, encoded.
        """
        self._ids = b"\x0a\x10" + trace_id + b"\x12\x08"
        self._offset_ns = offset_ns
        self._state = state
        self._parts: list[bytes] = []
        self.count = 0

    def add(self, number: int, parent: int, begun_s: float, ended_s: float, rest: bytes) -> None:
        """A Span; `rest` are its other fields. No parent is 0."""
        if parent:
            self.add_below(below(parent), number, begun_s, ended_s, frame(rest))
            return
        head = _ROOT.pack(
            self._ids, number.to_bytes(8, "big"),
            0x39, int(begun_s * 1e9) + self._offset_ns,
            0x41, int(ended_s * 1e9) + self._offset_ns,
        )  # fmt: skip
        size = len(head) + len(rest) + len(self._state)
        self._parts += (b"\x12", varint(size), head, rest, self._state)
        self.count += 1

    def add_below(
        self,
        parent: bytes,
        number: int,
        begun_s: float,
        ended_s: float,
        framed: Frame,
        more: bytes = b"",
    ) -> None:
        """A Span below another one, see `below`; `more` are the bytes that its frame counts on."""
        if self._state:
            more += self._state
            framed = frame(framed[1], len(more))
        prefix, rest = framed
        offset_ns = self._offset_ns
        head = _CHILD.pack(
            self._ids, number.to_bytes(8, "big"), parent,
            0x39, int(begun_s * 1e9) + offset_ns, 0x41, int(ended_s * 1e9) + offset_ns,
        )  # fmt: skip
        self._parts += (prefix, head, rest, more)
        self.count += 1

    def together(self) -> bytes:
        """All of them."""
        return b"".join(self._parts)


def below(parent: int) -> bytes:
    """What a Span says of its parent."""
    return b"\x22\x08" + parent.to_bytes(8, "big")


def link(trace_id: bytes, number: int) -> bytes:
    """A Span's link to another span."""
    return _LINK.pack(b"\x6a\x1c\x0a\x10", trace_id, b"\x12\x08", number.to_bytes(8, "big"))


def trace_state(state: str) -> bytes:
    """A Span's `tracestate`, if there is one."""
    return field(3, state.encode()) if state else b""


class Envelope:
    """Puts encoded spans into an ExportTraceServiceRequest of one resource and one scope."""

    def __init__(self, resource: dict[str, Value], scope: str, version: str) -> None:
        attributes = b"".join(attribute(*one, number=1) for one in resource.items())
        self._resource = field(1, attributes)
        self._scope = field(1, field(1, scope.encode()) + field(2, version.encode()))

    def request(self, spans: Sequence[bytes]) -> bytes:
        """The body of an export."""
        # Put together once: a body may be a quarter of a megabyte.
        size = len(self._scope) + sum(map(len, spans))
        head = self._resource + _SCOPE_SPANS + varint(size)
        return b"".join((_RESOURCE_SPANS, varint(len(head) + size), head, self._scope, *spans))


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, numbers and payloads; ValueError where it is none."""
    place, end = 0, len(data)
    while place < end:
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            number, place = _read_varint(data, place)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size, place = _read_varint(data, place)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a field of an unknown kind")
        if place + size > end:
            raise ValueError("a field ends after its message")
        payload = data[place : place + size]
        place += size
        yield key >> 3, payload if kind == _BYTES else int.from_bytes(payload, "little")


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number, shift = 0, 0
    while place < len(data) and shift < 70:
        byte = data[place]
        number |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return number, place
        shift += 7
    raise ValueError("a number without an end")
