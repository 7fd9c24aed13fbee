"""From a journal to spans: which there are, what they are called, and what they say.

SERVER → INTERNAL for each phase, and one CLIENT for each call to a target. A call that several
requests shared is a CLIENT span of its own, below that of the first sampled one, with links to all.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from router.domain.clock import Clock
from router.domain.journal import Attempt, Ending, Facts, Journal, Parent, Phase, SharedCall
from router.telemetry import names, otlp
from router.telemetry.otlp import Value

_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What many spans have in common is encoded once; so many things are remembered, twice.
_MOST_KNOWN = 4096
_OK = "ok"


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
        # Encoded once for all requests that say the same. Two generations, since a reason that is
        # another one each time must not push out what every request needs.
        self._known: dict[Hashable, bytes] = {}
        self._older: dict[Hashable, bytes] = {}

    def declare(self, targets: Mapping[str, TargetFacts]) -> None:
        """What there is to say of these targets; what was said of others stays."""
        self._targets |= {name: self._constants(name, facts) for name, facts in targets.items()}
        self._known, self._older = {}, {}

    def write(self, journal: Journal, facts: Facts, ending: Ending, kept: str) -> tuple[bytes, int]:
        """The spans of a request, as fields of ScopeSpans, and how many they are."""
        # Read anew: a machine's clock is set now and then, and what runs on is the other one.
        offset_ns = int((self._clock.wall_s() - self._clock.monotonic_s()) * 1e9)
        spans = otlp.Spans(bytes.fromhex(journal.trace_id), offset_ns)
        parent = journal.parent
        above, state = (0, b"") if parent is None else _origin(parent)
        flags = state + otlp.LOCAL_FLAGS
        server = b"".join((
            flags if parent is None else state + otlp.REMOTE_FLAGS,
            self._server(journal, facts, ending, kept),
            self._request_id(ending.request_id),
        ))  # fmt: skip
        number = journal.span
        spans.add(number, above, journal.begun_s, ending.ended_s, server)
        for phase in journal.phases:
            ended_s = phase.ended_s or phase.begun_s
            common = self._phase(phase)
            spans.add(journal.next_span(), number, phase.begun_s, ended_s, flags + common)
        for attempt in journal.attempts:
            self._attempt(spans, journal, attempt, flags)
        return spans.together(), spans.count

    def _remembered(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is not among the newest: from the generation before, or made."""
        known = self._older.get(key)
        if known is None:
            known = make()
        if len(self._known) >= _MOST_KNOWN:
            self._older, self._known = self._known, {}
        self._known[key] = known
        return known

    def _server(self, journal: Journal, facts: Facts, ending: Ending, kept: str) -> bytes:
        """All that the request's own span says, but its name and times."""
        attempts = len(journal.attempts)
        key = (ending.method, ending.route, ending.rpc, ending.status, kept, attempts, facts.tenant,
               facts.key, facts.route, facts.space, facts.target, facts.error)  # fmt: skip
        known = self._known.get(key) or self._remembered(
            key, lambda: _server(facts, ending, kept, attempts)
        )
        counts = (facts.inputs, facts.tokens, facts.cached_tokens, facts.cost_nano_usd)
        return known + (self._known.get(counts) or self._remembered(counts, lambda: _counts(facts)))

    def _phase(self, phase: Phase) -> bytes:
        key = (phase.name, phase.facts, phase.error)
        return self._known.get(key) or self._remembered(key, lambda: _phase(phase))

    def _attempt(self, spans: otlp.Spans, journal: Journal, attempt: Attempt, flags: bytes) -> None:
        """A call to a target, and the one that it shared with others where it leads them."""
        call = attempt.call
        span, shared = (journal.next_span(), None) if call is None else (call.span, call.shared)
        key = (attempt.target, attempt.outcome, attempt.reason, attempt.inputs, attempt.tokens)
        common = self._known.get(key) or self._remembered(key, lambda: self._client(attempt))
        ended_s = attempt.begun_s + attempt.latency_ms / 1000
        if shared is None:
            spans.add(span, journal.span, attempt.begun_s, ended_s, flags + common)
            return
        joint = shared.call
        shares = self._count(names.BATCH_REQUESTS, len(shared.members))
        link = b"" if joint is None else _link_to(joint.trace_id, joint.span)
        rest = b"".join((flags, common, shares, link))
        spans.add(span, journal.span, attempt.begun_s, ended_s, rest)
        if joint is not None and shared.lead == span:
            batch = flags + self._batch(shared, attempt)
            spans.add(joint.span, span, attempt.begun_s, ended_s, batch)

    def _client(self, attempt: Attempt) -> bytes:
        parts = [
            self._target(attempt.target),
            otlp.attribute(names.GEN_AI_USAGE_INPUT_TOKENS, attempt.tokens),
            otlp.attribute(names.INPUTS, attempt.inputs),
            otlp.attribute(names.ATTEMPT_REASON, attempt.reason),
            _outcome(attempt.outcome),
        ]
        return b"".join(parts)

    def _batch(self, shared: SharedCall, attempt: Attempt) -> bytes:
        parts = [
            self._target(attempt.target),
            self._count(names.GEN_AI_USAGE_INPUT_TOKENS, shared.tokens),
            self._count(names.INPUTS, shared.inputs),
            self._count(names.BATCH_REQUESTS, len(shared.members)),
            self._outcome(attempt),
        ]
        return b"".join((*parts, *(_link_to(*one) for one in shared.members)))

    def _count(self, name: str, number: int) -> bytes:
        key = (name, number)
        return self._known.get(key) or self._remembered(key, lambda: otlp.attribute(name, number))

    def _outcome(self, attempt: Attempt) -> bytes:
        outcome = attempt.outcome
        return self._known.get(outcome) or self._remembered(outcome, lambda: _outcome(outcome))

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


def _origin(parent: Parent) -> tuple[int, bytes]:
    """The caller's span, and its `tracestate`, which all spans below it carry."""
    return int(parent.span_id, 16), otlp.trace_state(parent.state)


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


def _phase(phase: Phase) -> bytes:
    attributes: dict[str, Value] = {
        f"{names.OWN}{phase.name}.{word}": value
        for word, value in phase.facts
        if value not in ("", ())
    }
    if phase.error is not None:
        attributes[names.ERROR_TYPE] = phase.error
    failed = b"" if phase.error is None else otlp.ERROR_STATUS
    return otlp.span_constants(phase.name, otlp.INTERNAL, attributes) + failed


def _outcome(outcome: str) -> bytes:
    """How a call ended, and that it failed where it did."""
    said = otlp.attribute(names.OUTCOME, outcome)
    if outcome == _OK:
        return said
    return said + otlp.attribute(names.ERROR_TYPE, outcome) + otlp.ERROR_STATUS


def _link_to(trace_id: str, span: int) -> bytes:
    return otlp.link(bytes.fromhex(trace_id), span)
