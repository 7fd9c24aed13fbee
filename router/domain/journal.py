"""What happens to one request, noted while it happens; `telemetry` makes a trace of it afterwards.

Notes are a few small objects a request and no more: nothing is formatted, encoded or sent before
the answer is. Times are in seconds on the monotonic clock. Source of the names and of their forms:
W3C Trace Context, level 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from router.domain.clock import Clock
from router.domain.errors import DeadlineExceededError, UpstreamContractError, UpstreamSpaceError
from router.domain.usage import CANCELLED, OK

_JOINT, _SPANS = 1 << 40, 1 << 64
# Ends of calls that a target may ask money for: it gave vectors, be they the right ones or not, or
# was asked and nobody waited any longer. None is asked by a target that refuses, is full, fails or
# is away.
_BILLED = frozenset({OK, CANCELLED, DeadlineExceededError.code, UpstreamContractError.code,
                     UpstreamSpaceError.code})  # fmt: skip
# What a note may say beside its name: names, codes and counts, never text.
Fact = tuple[str, str | int | tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Parent:
    """The caller's span that a request continues, its ids in hexadecimal, and its `tracestate`."""

    trace_id: str
    span_id: str
    is_sampled: bool
    state: str = ""


@dataclass(slots=True)
class Facts:
    """What log, traces and metrics may say of a request: names and counts, nothing of its content.

    `error` is the code of what it was refused with; `attempts` is set where it took several calls.
    """

    tenant: str | None = None
    key: str | None = None
    route: str | None = None
    space: str | None = None
    target: str | None = None
    inputs: int | None = None
    tokens: int | None = None
    cached_tokens: int | None = None
    cost_nano_usd: int | None = None
    attempts: str | None = None
    error: str | None = None


@dataclass(slots=True)
class Ending:
    """How a request ended: which endpoint answered, in HTTP's terms, and when.

    `route` is the path as a template, so that nobody's names are in it; where gRPC was spoken,
    `rpc` is its status's name and `route` its method's full name.
    """

    method: str
    route: str
    status: int
    request_id: str
    ended_s: float
    rpc: str | None = None


class Phase:
    """A stretch of work inside the router: `with journal.phase("quota", clock) as phase:`.

    What a phase notes is called `embedway.PHASE.FACT` in a trace.
    """

    __slots__ = ("_clock", "begun_s", "ended_s", "error", "facts", "name")

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self.begun_s = self.ended_s = 0.0
        self.facts: tuple[Fact, ...] = ()
        # The code of what it ended with, where it did not end well.
        self.error: str | None = None

    def __enter__(self) -> Self:
        self.begun_s = self._clock.monotonic_s()
        return self

    def end(self) -> None:
        """It is over; only the first time counts."""
        if not self.ended_s:
            self.ended_s = self._clock.monotonic_s()

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        # What went wrong after its end was another's work.
        if kind is not None and not self.ended_s:
            self.error = getattr(error, "code", kind.__name__)
        self.end()


class Journal:
    """The notes of one request. `span` is that of the request as a whole, 0 where none is kept."""

    __slots__ = ("_given", "attempts", "begun_s", "is_sampled", "parent", "phases", "span",
                 "trace_id")  # fmt: skip

    def __init__(
        self,
        trace_id: str = "",
        span: int = 0,
        parent: Parent | None = None,
        begun_s: float = 0.0,
        *,
        is_sampled: bool = False,
    ) -> None:
        """`is_sampled` was decided before the request began: others may be told of its trace."""
        self.trace_id = trace_id
        self.span = span
        self.parent = parent
        self.begun_s = begun_s
        self.is_sampled = is_sampled
        self.phases: list[Phase] = []
        self.attempts: list[Attempt] = []
        self._given = 0

    @property
    def span_id(self) -> str:
        """The request's span as 16 hexadecimal digits; empty without one."""
        return f"{self.span:016x}" if self.span else ""

    @property
    def exemplar(self) -> str:
        """The trace that a figure may point to: one that is kept for sure, or none."""
        return self.trace_id if self.is_sampled else ""

    def phase(self, name: str, clock: Clock) -> Phase:
        """A note of a stretch of work, for a `with` statement around it."""
        phase = Phase(name, clock)
        self.phases.append(phase)
        return phase

    def next_span(self) -> int:
        """A span's number that no other of this request has."""
        self._given += 1
        return self.span + self._given

    def call(self) -> "Call | None":
        """The place of a call to a target in this trace; None where nothing is noted."""
        if not self.span:
            return None
        state = "" if self.parent is None else self.parent.state
        return Call(self.trace_id, self.next_span(), state, is_sampled=self.is_sampled)

    def facts_of(self, phase: str) -> tuple[Fact, ...]:
        """What the first phase of that name has noted."""
        return next((one.facts for one in self.phases if one.name == phase), ())


class Call:
    """One call to a target: its place in its trace, and those that it shared the wire with.

    It knows its trace but not its journal: a ring of references for each request would be left to
    the garbage collector, whose work then costs more than all the notes.
    """

    __slots__ = ("_state", "is_sampled", "shared", "span", "trace_id")

    def __init__(self, trace_id: str, span: int, state: str = "", *, is_sampled: bool) -> None:
        """`is_sampled`: the target may be told; `state` is the caller's `tracestate`."""
        self.trace_id = trace_id
        self.span = span
        self.is_sampled = is_sampled
        self.shared: SharedCall | None = None
        self._state = state

    def joint(self) -> "Call":
        """The place, below this call, of one that is made for several."""
        # Far from the numbers that the journal gives out, one after the other.
        number = (self.span + _JOINT) % _SPANS
        return Call(self.trace_id, number, self._state, is_sampled=self.is_sampled)

    def trace_parent(self) -> str:
        """The header `traceparent` for who is called."""
        return f"00-{self.trace_id}-{self.span:016x}-01"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers that let who is called continue the trace; none where it is not sampled.

        Triton traces whatever comes with a `traceparent`, its sampled flag set or not, so that an
        unsampled request must not carry one.
        """
        if not self.is_sampled:
            return ()
        if not self._state:
            return (("traceparent", self.trace_parent()),)
        return (("traceparent", self.trace_parent()), ("tracestate", self._state))


class SharedCall(NamedTuple):
    """One call to a target on behalf of several requests; `members` are trace and span of each.

    It lies in the trace of the first sampled one, below that one's call, whose span is `lead`, as
    `call`; 0 and None where none is sampled. `inputs` and `tokens` are those of all together.
    """

    members: tuple[tuple[str, int], ...]
    lead: int
    call: Call | None
    inputs: int
    tokens: int


@dataclass(slots=True)
class Attempt:
    """One call to one target; `outcome` is "ok", "cancelled", or the code of its error.

    `reason` says why it was made: "first", "fallback" (after another target), "retry" (after the
    same), "hedge" (beside a slow one) or "part" (of a part that failed as a whole).
    """

    target: str
    outcome: str
    latency_ms: float
    inputs: int
    tokens: int
    begun_s: float = 0.0
    reason: str = "first"
    call: Call | None = field(default=None, repr=False, compare=False)


def may_be_billed(outcome: str) -> bool:
    """Whether the target may ask money for a call that ended so."""
    return outcome in _BILLED


def billed_tokens(attempts: Iterable[Attempt]) -> dict[str, int]:
    """Tokens of the calls that may be billed, by target; a target without such a call is not in."""
    tokens: dict[str, int] = {}
    for attempt in attempts:
        if attempt.outcome in _BILLED:
            tokens[attempt.target] = tokens.get(attempt.target, 0) + attempt.tokens
    return tokens
