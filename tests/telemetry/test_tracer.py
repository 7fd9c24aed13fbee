"""When what requests noted becomes spans: together, soon, and never not at all."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from router.domain.clock import SystemClock
from router.domain.journal import Attempt, Ending, Facts, Journal, Parent, SharedCall
from router.telemetry.logs import Log
from router.telemetry.memo import Memo
from router.telemetry.sampling import Sampler
from router.telemetry.shelf import TraceShelf, find
from router.telemetry.spans import Ended, SpanWriter
from router.telemetry.tracer import Tracer

PATIENCE_S = 10.0


class Counting(SpanWriter):
    """Notes how many traces were encoded when, in turns of the event loop."""

    def __init__(self) -> None:
        super().__init__("latest", SystemClock())
        self.groups: list[int] = []

    def offset_ns(self) -> int:
        self.groups.append(0)
        return super().offset_ns()

    def write(self, ended: Ended, offset_ns: int) -> tuple[bytes, int]:
        self.groups[-1] += 1
        return super().write(ended, offset_ns)


def tracer(writer: SpanWriter, folder: Path) -> Tracer:
    clock = SystemClock()
    sampler = Sampler(1.0, 60.0, 100, clock, trusts_parent=True)
    shelf = TraceShelf(folder, 1 << 20)
    return Tracer(sampler, writer, None, shelf, clock, Log(clock, io.BytesIO()))


def end(tracer: Tracer, name: str) -> None:
    journal = tracer.begin(None, None, 1.0)
    tracer.end(journal, Facts(), Ending("POST", "/v1/embeddings", 200, name, 2.0))


async def once(is_so: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE_S / 0.01)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it does not come")


async def test_many_that_end_are_encoded_together(tmp_path: Path) -> None:
    """Thirty-two at once, not within the turn in which the last of them ended."""
    writer = Counting()
    kept = tracer(writer, tmp_path)
    for number in range(32):
        end(kept, f"r{number}")
    assert writer.groups == []
    await asyncio.sleep(0)
    assert writer.groups == [32]
    # Neither again by the clock, nor those that end later never.
    end(kept, "later")
    await once(lambda: len(writer.groups) == 2)
    assert writer.groups == [32, 1]
    await kept.close()
    assert kept.kept == 33


async def test_a_flood_within_one_turn_loses_nothing(tmp_path: Path) -> None:
    """A hundred that end before the loop turns are all on disk under their names, in pieces."""
    writer = Counting()
    kept = tracer(writer, tmp_path)
    for number in range(100):
        end(kept, f"r{number}")
    await kept.flush()
    assert all(len(find(tmp_path, f"r{number}")) == 1 for number in range(100))
    assert writer.groups == [32, 32, 32, 4]
    await kept.close()


@pytest.mark.parametrize("asks", ["flush", "close"])
async def test_who_asks_now_sees_what_has_just_ended(tmp_path: Path, asks: str) -> None:
    """A single trace does not wait for company where somebody reads, or the router ends."""
    kept = tracer(Counting(), tmp_path)
    end(kept, "alone")
    await getattr(kept, asks)()
    assert len(find(tmp_path, "alone")) == 1
    if asks == "flush":
        await kept.close()


def test_what_vendors_say_stands_in_every_span() -> None:
    """The caller's `tracestate` and flags, and links, whatever is remembered from others."""
    writer = SpanWriter("latest", SystemClock())
    for state in ("", "a=1,b=2", "", "c=3"):
        journal = Journal("ab" * 16, 77, Parent("ab" * 16, "cd" * 8, True, state), 1.0)
        with journal.phase("auth", SystemClock()):
            pass
        call, other = journal.call(), Journal("ef" * 16, 99, is_sampled=True).call()
        assert call is not None
        assert other is not None
        members = tuple((one.trace_id, one.span) for one in (call, other))
        call.shared = SharedCall(members, call.span, call.joint(), 2, 20)
        journal.attempts.append(Attempt("a", "ok", 1.0, 1, 10, 1.0, "first", call))
        ending = Ending("POST", "/v1/embeddings", 200, "r", 2.0)
        data, count = writer.write(Ended(journal, Facts(), ending, "parent"), 0)
        spans = ScopeSpans.FromString(data).spans
        assert [span.trace_state for span in spans] == [state] * count == [state] * 4
        root, phase, client, batch = spans
        assert root.flags == phase.flags | 0x200 == 0x301
        assert root.parent_span_id == bytes.fromhex("cd" * 8)
        assert phase.parent_span_id == client.parent_span_id == root.span_id
        assert batch.parent_span_id == client.span_id
        assert [link.span_id for link in client.links] == [batch.span_id]
        assert [link.span_id for link in batch.links] == [
            number.to_bytes(8, "big") for _, number in members
        ]


def test_what_all_need_survives_what_only_one_needs() -> None:
    """Keys that never come again push each other out, and not the one that comes every time."""
    memo: Memo[str] = Memo(4)
    made: list[object] = []

    def ask(key: object) -> str:
        def make() -> str:
            made.append(key)
            return f"of {key}"

        return memo.get(key) or memo.remember(key, make)

    for number in range(50):
        assert ask("every time") == "of every time"
        assert ask(number) == f"of {number}"
    assert made.count("every time") == 1
    memo.clear()
    ask("every time")
    assert made.count("every time") == 2
