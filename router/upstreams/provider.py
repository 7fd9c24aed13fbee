"""What all providers have in common: a call in their dialect, its errors, limits and bill."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from router.config.profiles import ProfileSettings
from router.domain.clock import Clock
from router.domain.errors import (
    UpstreamContractError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.journal import Call
from router.domain.ports import TargetReports
from router.domain.types import Float32Array, TokenBatch
from router.upstreams.http_call import HttpAnswer, HttpPost
from router.upstreams.http_headers import exhausted, retry_after_s
from router.upstreams.json_vectors import at_path, parse, unit_length

# The largest a number is written in an answer, its comma and blank included, and what stands
# around the vectors.
_BYTES_A_NUMBER = 32
_BYTES_AN_ANSWER = 64 * 1024
# No key, or no credit, is not over in a second; it is tried again all the same, since somebody
# may have paid.
_REST_WITHOUT_CREDIT_S = 60
_OVERLOADED = frozenset({429, 529})
_UNPAID = frozenset({401, 402, 403})
_MALFORMED = frozenset({400, 413, 415, 422})
_DOWN = frozenset({404, 408, 502, 503, 504, 524})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider's model: where, what it is called there, who pays, and its full dimension."""

    url: str
    model: str
    api_key: str
    dimensions: int
    profile: ProfileSettings

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r})"


class Dialect(Protocol):
    """How one kind of API words a call and its answer."""

    path: str

    def body(self, endpoint: Endpoint, batch: TokenBatch) -> dict[str, Any]:
        """The call's JSON; the batch has texts."""
        ...

    def vectors(self, document: Any, count: int) -> Float32Array:  # noqa: ANN401 - simdjson's own
        """(count, d) float32 of an answer, in order; UpstreamContractError."""
        ...


class ProviderUpstream:
    """One model of one provider. Text goes out: a provider's tokenizer is its own."""

    def __init__(
        self,
        dialect: Dialect,
        endpoint: Endpoint,
        reports: TargetReports,
        clock: Clock,
        *,
        tells_traces: bool = False,
    ) -> None:
        """Needs a running event loop, to which the connections belong.

        `tells_traces` sends the trace of sampled requests along, which names them to strangers.
        """
        self._tells_traces = tells_traces
        self._dialect = dialect
        self._endpoint = endpoint
        self._reports = reports
        self._clock = clock
        self._url = endpoint.url.rstrip("/") + dialect.path
        self._post = HttpPost({"authorization": f"Bearer {endpoint.api_key}"})

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """Vectors (n, dimension) float32 of the n sequences, in order.

        Raises the UpstreamError that fits, or DeadlineExceededError. What the provider wrote
        stays inside: it may repeat the input.
        """
        if batch.texts is None:
            raise UpstreamRejectedError("the target takes text, and these ids are no text's own")
        body = {**self._dialect.body(self._endpoint, batch), **self._endpoint.profile.body}
        room = _BYTES_AN_ANSWER + batch.count * self._endpoint.dimensions * _BYTES_A_NUMBER
        headers = dict(call.headers()) if call is not None and self._tells_traces else None
        answer = await self._post.post(self._url, orjson.dumps(body), timeout_s, room, headers)
        for remaining, reset_s in exhausted(answer.headers, self._endpoint.profile.rate_limit):
            self._reports.rate_limited(remaining, reset_s)
        if answer.status != 200:
            raise self._refusal(answer)
        return self._vectors(answer.body, batch)

    async def ready(self) -> bool:
        """Whether calls may be made: asking a provider would cost, so its answers have to tell."""
        return self._post.is_open

    async def close(self) -> None:
        """Close the connections; calls under way end with UpstreamUnavailableError."""
        await self._post.close()

    def _vectors(self, body: bytes, batch: TokenBatch) -> Float32Array:
        document, profile = parse(body), self._endpoint.profile
        vectors = self._dialect.vectors(document, batch.count)
        billed = at_path(document, profile.usage)
        self._reports.billed(batch.total, billed if isinstance(billed, int) else batch.total)
        return unit_length(vectors) if profile.normalise else vectors

    def _refusal(self, answer: HttpAnswer) -> UpstreamError:
        """What a status means; at most a number of the answer is told on."""
        status = answer.status
        asked_s = retry_after_s(answer.headers, self._clock.wall_s())
        rest_s = 1 if asked_s is None else math.ceil(asked_s)
        if status in _UNPAID or self._is_out_of_credit(answer.body):
            return UpstreamUnavailableError(
                f"the target refuses the router's key or credit ({status})",
                max(rest_s, _REST_WITHOUT_CREDIT_S),
            )
        if status in _OVERLOADED:
            return UpstreamOverloadedError(f"the target has no room ({status})", rest_s)
        if status in _MALFORMED:
            return UpstreamRejectedError(f"the target refused the request ({status})")
        if status in _DOWN:
            return UpstreamUnavailableError(f"the target is down ({status})", rest_s)
        return UpstreamError(f"the target failed ({status})", rest_s)

    def _is_out_of_credit(self, body: bytes) -> bool:
        profile = self._endpoint.profile
        if not profile.exhausted_codes:
            return False
        try:
            code = at_path(parse(body), profile.error_code)
        except UpstreamContractError:
            return False
        return code in profile.exhausted_codes
