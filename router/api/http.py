"""The HTTP front: finds the endpoint, checks the key, turns errors into replies, logs a line."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from router.api import exchange as wire
from router.api.lines import write_line
from router.api.metering import refusal_headers
from router.api.problems import Problem, kserve_body, openai_body, places_of, problem_of
from router.authentication.authenticator import Authenticator
from router.domain.clock import Clock
from router.domain.errors import EmbedwayError
from router.domain.journal import Ending
from router.domain.ports import Recorder
from router.domain.types import Scope
from router.policy.keys import require_scope
from router.telemetry.logs import Log
from router.telemetry.meters import Meters

# A part of a pattern: named ones are told by name, others are left out.
_NAMED_PART = re.compile(r"\(\?P<(\w+)>[^)]*\)")
_NAMELESS_PART = re.compile(r"\([^)]*\)\??")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Each method gets the exchange and the parts of the path that its pattern names.

    A key with one of `scopes` is asked for; any key will do where there are none.
    """

    methods: Mapping[str, Callable[..., Awaitable[wire.Reply]]]
    needs_key: bool = True
    scopes: tuple[Scope, ...] = ()


class HttpFront:
    """An ASGI application."""

    def __init__(  # noqa: PLR0913 - each by its name, and from one place
        self,
        *,
        exact: Mapping[str, Endpoint],
        patterns: Mapping[str, Endpoint],
        authenticator: Authenticator,
        clock: Clock,
        log: Log,
        log_requests: bool,
        recorder: Recorder,
        meters: Meters,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        """`patterns` are regular expressions over the whole path, their groups named.

        While `is_leaving`, clients are told not to send more over their connections.
        """
        self._exact = exact
        self._patterns = [
            (re.compile(path), _template(path), endpoint) for path, endpoint in patterns.items()
        ]
        self._recorder = recorder
        self._authenticator = authenticator
        self._clock = clock
        self._log = log
        self._log_requests = log_requests
        self._meters = meters
        self._is_leaving = is_leaving
        self.under_way = 0

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: wire.Receive, send: wire.Send
    ) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        exchange = wire.Exchange(scope, receive, _request_id(scope), self._clock.monotonic_s())
        self.under_way += 1
        sent: wire.Reply | None = None
        try:
            reply = await self._reply(exchange)
            if reply is not None:
                if self._is_leaving():
                    reply.headers.append((b"connection", b"close"))
                await _send(send, exchange, reply)
                sent = reply
        except asyncio.CancelledError:
            if not exchange.client_left:
                raise
        finally:
            self.under_way -= 1
            exchange.close()
            self._record(exchange, sent)

    async def _reply(self, exchange: wire.Exchange) -> wire.Reply | None:
        """The reply, or None where nobody is left to read it."""
        try:
            return await self._answer(exchange)
        except wire.ClientLeftError:
            return None
        except EmbedwayError as error:
            return self._refusal(exchange, error)
        except Exception as error:  # noqa: BLE001 - the application's outermost handler
            self._log.event(
                "defect", request_id=exchange.request_id, error=type(error).__name__,
                at=places_of(error),
            )  # fmt: skip
            return self._refusal(exchange, error)

    async def _answer(self, exchange: wire.Exchange) -> wire.Reply:
        endpoint, exchange.template, parts = self._find(exchange.path)
        if endpoint is not None and endpoint.needs_key:
            exchange.begin(self._recorder)
        if endpoint is None:
            return _plain_problem(exchange, 404, "not_found", f"Unknown path {exchange.path[:256]}")
        answer = endpoint.methods.get(exchange.method)
        if answer is None:
            allowed = ", ".join(endpoint.methods)
            reply = _plain_problem(
                exchange, 405, "method_not_allowed", f"This path takes {allowed}"
            )
            reply.headers.append((b"allow", allowed.encode()))
            return reply
        exchange.asks_for_vectors = Scope.EMBED in endpoint.scopes
        if endpoint.needs_key:
            with exchange.journal.phase("auth", self._clock):
                await self._admit(exchange, endpoint.scopes)
        return await answer(exchange, **parts)

    async def _admit(self, exchange: wire.Exchange, scopes: tuple[Scope, ...]) -> None:
        shown = exchange.header(b"authorization")
        caller = self._authenticator.known(shown) or await self._authenticator.find(shown)
        exchange.caller = caller
        exchange.facts.tenant, exchange.facts.key = caller.tenant, caller.key_name
        if scopes:
            require_scope(caller, *scopes)

    def _find(self, path: str) -> tuple[Endpoint | None, str, dict[str, str]]:
        """What answers a path, its template, and the parts that the template names."""
        endpoint = self._exact.get(path)
        if endpoint is not None:
            return endpoint, path, {}
        for pattern, template, candidate in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return candidate, template, match.groupdict()
        return None, "", {}

    def _refusal(self, exchange: wire.Exchange, error: Exception) -> wire.Reply:
        problem = problem_of(error)
        exchange.facts.error = problem.code
        reply = _problem_reply(exchange, problem)
        if problem.retry_after_s is not None:
            reply.headers.append((b"retry-after", b"%d" % problem.retry_after_s))
        reply.headers += refusal_headers(problem.quota, problem.retry_after_s)
        if problem.status == 401:
            reply.headers.append((b"www-authenticate", b"Bearer"))
        if exchange.must_close:
            reply.headers.append((b"connection", b"close"))
        return reply

    def _record(self, exchange: wire.Exchange, sent: wire.Reply | None) -> None:
        ending = Ending(
            method=exchange.method,
            route=exchange.template,
            status=sent.status if sent is not None else 499,
            request_id=exchange.request_id,
            ended_s=self._clock.monotonic_s(),
        )
        self._count(exchange, ending)
        if exchange.journal.span:
            self._recorder.end(exchange.journal, exchange.facts, ending)
        if self._log_requests and not exchange.path.startswith(("/health/", "/metrics")):
            write_line(self._log, exchange.journal, exchange.facts, ending, exchange.arrived_s)

    def _count(self, exchange: wire.Exchange, ending: Ending) -> None:
        facts, trace, status = exchange.facts, exchange.journal.exemplar, ending.status
        seconds = ending.ended_s - exchange.arrived_s
        error = facts.error or ""
        self._meters.http(exchange.method, exchange.template, status, seconds, error, trace)
        if exchange.asks_for_vectors:
            outcome = "ok" if status == 200 else "cancelled" if status == 499 else error
            self._meters.request(facts.route, facts.tenant, outcome, seconds, trace)


def _template(pattern: str) -> str:
    """`/v2/models/{model}/infer` of a regular expression over paths."""
    return _NAMELESS_PART.sub("", _NAMED_PART.sub(r"{\1}", pattern))


def _request_id(scope: MutableMapping[str, Any]) -> str:
    shown = (value for name, value in scope["headers"] if name == b"x-request-id")
    return wire.request_id(next(shown, None))


async def _send(send: wire.Send, exchange: wire.Exchange, reply: wire.Reply) -> None:
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", exchange.request_id.encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _problem_reply(exchange: wire.Exchange, problem: Problem) -> wire.Reply:
    shape = kserve_body if exchange.path.startswith("/v2") else openai_body
    return wire.Reply(problem.status, shape(problem))


def _plain_problem(exchange: wire.Exchange, status: int, code: str, message: str) -> wire.Reply:
    exchange.facts.error = code
    base = problem_of(EmbedwayError(message))
    problem = Problem(status, "invalid_request_error", code, message, None, base.grpc_status)
    return _problem_reply(exchange, problem)
