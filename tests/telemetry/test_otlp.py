"""What is encoded by hand, OpenTelemetry's own classes read; and what is kept, we read again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from router.telemetry import otlp
from router.telemetry.reading import read_spans
from tests.support.collectors import _attributes

TRACE = bytes(range(1, 17))
# Of a span from 2 to 3 seconds, whose clock began with the offset.
TIMES_NS = (2**63 + 2_000_000_000, 2**63 + 3_000_000_000)
VALUES = st.one_of(
    st.text(max_size=300),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=20), max_size=4).map(tuple),
)


def one_span(rest: bytes, number: int = 1, parent: int = 0, offset_ns: int = 0) -> bytes:
    spans = otlp.Spans(TRACE, offset_ns)
    spans.add(number, parent, 2.0, 3.0, rest)
    return spans.together()


@given(st.dictionaries(st.text(min_size=1, max_size=40), VALUES, max_size=6))
def test_attributes_are_read_as_they_were_given(given_ones: dict[str, otlp.Value]) -> None:
    """Texts, numbers, booleans and lists of texts survive, whoever reads them."""
    constants = otlp.span_constants("a span", otlp.CLIENT, given_ones)
    data = one_span(constants, number=2**64 - 1, parent=5, offset_ns=2**63)
    span = ScopeSpans.FromString(data).spans[0]
    expected = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given_ones.items()
    }
    assert _attributes(span.attributes) == expected
    assert (span.name, span.kind, span.trace_id) == ("a span", 3, TRACE)
    assert span.span_id == b"\xff" * 8
    assert span.parent_span_id == (5).to_bytes(8, "big")
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == TIMES_NS
    (read,) = read_spans(data)
    assert read.attributes == expected
    assert (read.name, read.kind, read.parent_id) == ("a span", "client", f"{5:016x}")
    assert (read.begun_ns, read.ended_ns) == TIMES_NS


def test_the_rest_of_a_span() -> None:
    """Status, links, state and flags stand in the fields that they have in OTLP."""
    data = one_span(
        otlp.span_constants("s", otlp.SERVER) + otlp.ERROR_STATUS + otlp.link(TRACE, 9)
        + otlp.trace_state("a=1") + otlp.REMOTE_FLAGS
    )  # fmt: skip
    span = ScopeSpans.FromString(data).spans[0]
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert [(link.trace_id, link.span_id[-1]) for link in span.links] == [(TRACE, 9)]
    assert (span.trace_state, span.flags, span.parent_span_id) == ("a=1", 0x301, b"")
    (read,) = read_spans(data)
    assert read.is_error
    assert read.links == [{"trace_id": TRACE.hex(), "span_id": f"{9:016x}"}]


def test_an_export_names_who_tells() -> None:
    """Spans travel under one resource and one scope."""
    spans = [one_span(otlp.span_constants("s", 1), number=number) for number in (1, 2)]
    body = otlp.Envelope({"service.name": "embedway-router"}, "scope", "1.0").request(spans)
    (resource,) = service.ExportTraceServiceRequest.FromString(body).resource_spans
    assert _attributes(resource.resource.attributes) == {"service.name": "embedway-router"}
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version, len(scope.spans)) == ("scope", "1.0", 2)


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x0b", b"\x80" * 11, b"\x09\x01"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """A field that ends after its message, or of no known kind, is a ValueError."""
    with pytest.raises(ValueError, match=r"field|number"):
        list(otlp.fields(data))


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_written_as_protobuf_writes_them(number: int) -> None:
    """A varint is what protobuf's own classes make of the number."""
    written = KeyValue()
    written.value.int_value = number
    assert otlp.field(2, b"\x18" + otlp.varint(number)) == written.SerializeToString()
    assert math.isfinite(number)


@given(st.text(max_size=5000))
def test_a_text_that_changes_is_the_attribute_that_it_would_be(text: str) -> None:
    """Known heads make no other bytes, be the text new or of a length that was seen before."""
    attribute = otlp.TextAttribute("name")
    for one in (text, text, text[::-1]):
        assert attribute(one) == otlp.attribute("name", one)


def test_many_spans_one_behind_the_other() -> None:
    """Long spans and short ones are all found again, and counted."""
    spans = otlp.Spans(TRACE, 0)
    sizes = (1, 100, 5000, 70_000, 2)
    for number, size in enumerate(sizes, 1):
        spans.add(number, 0, 1.0, 2.0, otlp.span_constants("s" * size, otlp.INTERNAL))
    read = ScopeSpans.FromString(spans.together()).spans
    assert [len(span.name) for span in read] == list(sizes)
    assert spans.count == len(sizes)
