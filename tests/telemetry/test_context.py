"""The caller's trace, as W3C words it."""

import gc

import pytest

from router.domain.journal import Attempt, Journal, SharedCall
from router.telemetry.context import parent_of
from tests.support.clocks import ManualClock

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
    ids=["sampled", "not sampled", "other flags", "a later version"],
)
def test_a_well_formed_parent_is_continued(header: str, is_sampled: bool) -> None:
    """Ids are taken as they are, and the last bit of the flags says whether it is sampled."""
    parent = parent_of(header, None)
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.is_sampled) == (TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "header",
    [
        "", "text", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n", f" 00-{TRACE}-{SPAN}-01", f"00-{TRACE[1:]}-{SPAN}-01",
    ],
)  # fmt: skip
def test_anything_else_is_no_parent(header: str) -> None:
    """A header that the specification forbids begins a trace of our own."""
    assert parent_of(header, None) is None


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
        ("a=1, ,b=2", "a=1,b=2"),
        ("tenant@vendor=1", "tenant@vendor=1"),
        ("no value", ""),
        ("A=1", ""),
        ("a=ü", ""),
        ("a=" + "x" * 600, ""),
        (",".join(f"k{number}=1" for number in range(40)), ""),
    ],
)
def test_the_vendors_state_is_kept_where_it_is_one(state: str, kept: str) -> None:
    """What is no list of vendors' marks is dropped, and the trace goes on without it."""
    parent = parent_of(f"00-{TRACE}-{SPAN}-01", state)
    assert parent is not None
    assert parent.state == kept


def test_a_target_hears_of_sampled_requests_only() -> None:
    """An unsampled call carries no header at all: Triton would trace it whatever its flag says."""
    parent = parent_of(f"00-{TRACE}-{SPAN}-01", "a=1")
    sampled = Journal(TRACE, 5, parent, is_sampled=True).call()
    assert sampled is not None
    assert dict(sampled.headers()) == {
        "traceparent": f"00-{TRACE}-{6:016x}-01",
        "tracestate": "a=1",
    }
    unsampled = Journal(TRACE, 5, parent).call()
    assert unsampled is not None
    assert unsampled.headers() == ()


def test_a_request_leaves_nothing_to_the_garbage_collector() -> None:
    """Journal, attempts and calls refer to each other in no ring: they go when the request goes."""
    gc.collect()
    gc.disable()
    try:
        _note_everything()
        assert gc.collect() == 0
    finally:
        gc.enable()


def _note_everything() -> None:
    journal = Journal(TRACE, 5, is_sampled=True)
    call = journal.call()
    assert call is not None
    call.shared = SharedCall(((TRACE, call.span), (TRACE, 9)), call.span, call.joint(), 2, 2)
    journal.attempts.append(Attempt("a", "ok", 1.0, 1, 1, 0.0, "first", call))
    with journal.phase("plan", ManualClock()):
        pass
