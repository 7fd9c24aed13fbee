"""From a journal to spans: which there are, what they are called, and what they say.

SERVER → INTERNAL for each phase, and one CLIENT for each call to a target. A call that several
requests shared is a CLIENT span of its own, below that of the first sampled one, with links to all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from router.domain.clock import Clock
from router.domain.journal import Attempt, Ending, Facts, Journal, Parent, Phase, SharedCall
from router.telemetry import names, otlp
from router.telemetry.memo import Memo
from router.telemetry.otlp import Frame, Value

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What many spans have in common is encoded once; so many things of a kind are remembered, twice.
_MOST_KNOWN = 4096
_OK = "ok"


class Ended(NamedTuple):
    """A request that is over and whose spans are wanted; `kept` says why they are."""

    journal: Journal
    facts: Facts
    ending: Ending
    kept: str


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What spans say of a target: whose API it is, the model there, where, and the dimension."""

    provider: str
    model: str
    space: str
    dimensions: int
    address: str | None = None
    port: int | None = None
    encoding: str = "float"


class SpanWriter:
    """Encodes the spans of kept requests."""

    def __init__(self, conventions: names.Conventions, clock: Clock) -> None:
        """Of targets nothing is known but their names until they are declared."""
        self._names = names.names_of(conventions)
        self._clock = clock
        self._targets: dict[str, bytes] = {}
        self._request_id = otlp.TextAttribute(names.REQUEST_ID)
        # Encoded once for all requests that say the same: parts of spans, and whole frames.
        self._parts: Memo[bytes] = Memo(_MOST_KNOWN)
        self._frames: Memo[Frame] = Memo(_MOST_KNOWN)

    def declare(self, targets: Mapping[str, TargetFacts]) -> None:
        """What there is to say of these targets; what was said of others stays."""
        self._targets |= {name: self._constants(name, facts) for name, facts in targets.items()}
        self._parts.clear()
        self._frames.clear()

    def offset_ns(self) -> int:
        """From the clock of journals to nanoseconds since the Unix epoch, as it is now.

        A machine's clock is set now and then, and what runs on is the other one.
        """
        return int((self._clock.wall_s() - self._clock.monotonic_s()) * 1e9)

    def write(self, ended: Ended, offset_ns: int) -> tuple[bytes, int]:
        """The spans of a request, as fields of ScopeSpans, and how many they are."""
        journal, facts, ending, kept = ended
        parent = journal.parent
        above, flags, state = 0, otlp.LOCAL_FLAGS, b""
        if parent is not None:
            above, flags, state = _origin(parent)
        spans = otlp.Spans(bytes.fromhex(journal.trace_id), offset_ns, state)
        server = b"".join((
            flags, self._server(journal, facts, ending, kept), self._request_id(ending.request_id),
        ))  # fmt: skip
        number = journal.span
        spans.add(number, above, journal.begun_s, ending.ended_s, server)
        under = otlp.below(number)
        known = self._frames.get
        for phase in journal.phases:
            key = (phase.name, phase.facts, phase.error)
            framed = known(key) or self._frames.remember(key, partial(_phase, phase))
            ended_s = phase.ended_s or phase.begun_s
            spans.add_below(under, journal.next_span(), phase.begun_s, ended_s, framed)
        for attempt in journal.attempts:
            self._attempt(spans, journal, attempt, under)
        return spans.together(), spans.count

    def _server(self, journal: Journal, facts: Facts, ending: Ending, kept: str) -> bytes:
        """All that the request's own span says, but its id and times."""
        attempts = len(journal.attempts)
        key = (ending.method, ending.route, ending.rpc, ending.status, kept, attempts, facts.tenant,
               facts.key, facts.route, facts.space, facts.target, facts.error)  # fmt: skip
        known = self._parts.get(key) or self._parts.remember(
            key, lambda: _server(facts, ending, kept, attempts)
        )
        counts = (facts.inputs, facts.tokens, facts.cached_tokens, facts.cost_nano_usd)
        return known + (
            self._parts.get(counts) or self._parts.remember(counts, lambda: _counts(facts))
        )

    def _attempt(self, spans: otlp.Spans, journal: Journal, attempt: Attempt, under: bytes) -> None:
        """A call to a target, and the one that it shared with others where it leads them."""
        call = attempt.call
        span, shared = (journal.next_span(), None) if call is None else (call.span, call.shared)
        ended_s = attempt.begun_s + attempt.latency_ms / 1000
        members, joint = (0, None) if shared is None else (len(shared.members), shared.call)
        link = b"" if joint is None else _link_to(joint.trace_id, joint.span)
        key = (attempt.target, attempt.outcome, attempt.reason, attempt.inputs, attempt.tokens,
               members, len(link))  # fmt: skip
        framed = self._frames.get(key) or self._frames.remember(
            key, lambda: otlp.frame(self._client(attempt, members), len(link))
        )
        spans.add_below(under, span, attempt.begun_s, ended_s, framed, link)
        if shared is not None and joint is not None and shared.lead == span:
            links = b"".join([_link_to(*one) for one in shared.members])
            batch = otlp.frame(self._batch(shared, attempt), len(links))
            spans.add_below(otlp.below(span), joint.span, attempt.begun_s, ended_s, batch, links)

    def _client(self, attempt: Attempt, members: int) -> bytes:
        parts = [
            otlp.LOCAL_FLAGS,
            self._target(attempt.target),
            otlp.attribute(names.GEN_AI_USAGE_INPUT_TOKENS, attempt.tokens),
            otlp.attribute(names.INPUTS, attempt.inputs),
            otlp.attribute(names.ATTEMPT_REASON, attempt.reason),
            _outcome(attempt.outcome),
            otlp.attribute(names.BATCH_REQUESTS, members) if members else b"",
        ]
        return b"".join(parts)

    def _batch(self, shared: SharedCall, attempt: Attempt) -> bytes:
        return b"".join((
            otlp.LOCAL_FLAGS,
            self._target(attempt.target),
            self._count(names.GEN_AI_USAGE_INPUT_TOKENS, shared.tokens),
            self._count(names.INPUTS, shared.inputs),
            self._count(names.BATCH_REQUESTS, len(shared.members)),
            self._outcome(attempt.outcome),
        ))  # fmt: skip

    def _count(self, name: str, number: int) -> bytes:
        key = (name, number)
        return self._parts.get(key) or self._parts.remember(
            key, lambda: otlp.attribute(name, number)
        )

    def _outcome(self, outcome: str) -> bytes:
        return self._parts.get(outcome) or self._parts.remember(outcome, lambda: _outcome(outcome))

    def _target(self, name: str) -> bytes:
        """Name, kind and what is known of a call to a target."""
        return self._targets.get(name) or otlp.span_constants(
            names.EMBEDDINGS, otlp.CLIENT, {names.TARGET: name}
        )

    def _constants(self, target: str, facts: TargetFacts) -> bytes:
        attributes: dict[str, Value] = {
            names.GEN_AI_OPERATION_NAME: names.EMBEDDINGS,
            self._names.provider: facts.provider,
            names.GEN_AI_REQUEST_MODEL: facts.model,
            names.GEN_AI_RESPONSE_MODEL: facts.model,
            names.GEN_AI_REQUEST_ENCODING_FORMATS: (facts.encoding,),
            names.TARGET: target,
            names.SPACE: facts.space,
        }
        if self._names.dimensions is not None:
            attributes[self._names.dimensions] = facts.dimensions
        if facts.address is not None:
            attributes[names.SERVER_ADDRESS] = facts.address
        if facts.port is not None:
            attributes[names.SERVER_PORT] = facts.port
        return otlp.span_constants(f"{names.EMBEDDINGS} {facts.model}", otlp.CLIENT, attributes)


def outcome_of(facts: Facts, status: int) -> str:
    """One word: ok, the code of the error, or client_left where nobody waited for the answer."""
    if facts.error is not None:
        return facts.error
    return "client_left" if status == 499 else _OK


def _origin(parent: Parent) -> tuple[int, bytes, bytes]:
    """The caller's span, the flags below it, and its `tracestate`, which all of them carry."""
    return int(parent.span_id, 16), otlp.REMOTE_FLAGS, otlp.trace_state(parent.state)


def _server(facts: Facts, ending: Ending, kept: str, attempts: int) -> bytes:
    said: list[tuple[str, Value | None]] = [
        (names.KEPT, kept), (names.TENANT, facts.tenant), (names.KEY, facts.key),
        (names.ROUTE, facts.route), (names.SPACE, facts.space), (names.TARGET, facts.target),
        (names.ERROR_TYPE, facts.error), (names.OUTCOME, outcome_of(facts, ending.status)),
        (names.ATTEMPTS, attempts),
    ]  # fmt: skip
    if ending.rpc is not None:
        name = ending.route
        said += ((names.RPC_SYSTEM_NAME, "grpc"), (names.RPC_METHOD, ending.route),
                 (names.RPC_RESPONSE_STATUS_CODE, ending.rpc))  # fmt: skip
    else:
        method = ending.method if ending.method in _KNOWN_METHODS else names.OTHER_METHOD
        name = f"{method} {ending.route}"
        # The path itself may hold what a client put there; its template does not.
        said += ((names.HTTP_REQUEST_METHOD, method), (names.HTTP_ROUTE, ending.route),
                 (names.URL_PATH, ending.route), (names.URL_SCHEME, "http"),
                 (names.HTTP_RESPONSE_STATUS_CODE, ending.status))  # fmt: skip
    attributes = {name: value for name, value in said if value is not None}
    failed = otlp.ERROR_STATUS if ending.status >= 500 else b""
    return otlp.span_constants(name, otlp.SERVER, attributes) + failed


def _counts(facts: Facts) -> bytes:
    said = (
        (names.INPUTS, facts.inputs), (names.GEN_AI_USAGE_INPUT_TOKENS, facts.tokens),
        (names.CACHED_TOKENS, facts.cached_tokens), (names.COST, facts.cost_nano_usd),
    )  # fmt: skip
    return b"".join(otlp.attribute(name, value) for name, value in said if value is not None)


def _phase(phase: Phase) -> Frame:
    attributes: dict[str, Value] = {
        f"{names.OWN}{phase.name}.{word}": value
        for word, value in phase.facts
        if value not in ("", ())
    }
    if phase.error is not None:
        attributes[names.ERROR_TYPE] = phase.error
    failed = b"" if phase.error is None else otlp.ERROR_STATUS
    said = otlp.span_constants(phase.name, otlp.INTERNAL, attributes)
    return otlp.frame(otlp.LOCAL_FLAGS + said + failed)


def _outcome(outcome: str) -> bytes:
    """How a call ended, and that it failed where it did."""
    said = otlp.attribute(names.OUTCOME, outcome)
    if outcome == _OK:
        return said
    return said + otlp.attribute(names.ERROR_TYPE, outcome) + otlp.ERROR_STATUS


def _link_to(trace_id: str, span: int) -> bytes:
    return otlp.link(bytes.fromhex(trace_id), span)
