"""The way of a request, from top to bottom."""

import asyncio
from collections.abc import Callable, Mapping

from router.dispatch.dispatcher import Dispatched, Dispatcher
from router.domain.clock import Clock
from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    SpaceMismatchError,
    UnknownModelError,
)
from router.domain.ports import Tokenizer
from router.domain.types import (
    Attempt,
    Caller,
    EmbeddingRequest,
    EmbeddingResult,
    Route,
    TokenBatch,
)
from router.domain.usage import CANCELLED, OK, Receipt
from router.metering.meter import Meter
from router.metering.reservation import Asked, Outcome, Reservation
from router.routing.needs import needs_of
from router.text.encode import encode_request
from router.vectors.matryoshka import checked_dimension, narrow

# Above this, tokenising takes milliseconds and is done off the event loop (the tokenizer lets go
# of the interpreter), so that one large request does not hold up the small ones.
_THREAD_ABOVE_CHARACTERS = 20_000
# What stands for a target where every vector was remembered, or another request's.
FROM_MEMORY = "cache"


class EmbeddingService:
    """Answers embedding requests; built once by `app.py` from parts that do not know each other."""

    def __init__(
        self,
        *,
        routes: Mapping[str, Route],
        tokenizers: Mapping[str, Tokenizer],
        dispatcher: Dispatcher,
        is_up: Callable[[str], bool],
        uncached_tenants: frozenset[str],
        meter: Meter | None,
        clock: Clock,
    ) -> None:
        """Take tokenizers by space; `is_up` tells of a target by name; no meter counts nothing."""
        self.routes = routes
        self._tokenizers = tokenizers
        self._dispatcher = dispatcher
        self._is_up = is_up
        self._uncached_tenants = uncached_tenants
        self._meter = meter
        self._clock = clock

    def is_route_ready(self, name: str) -> bool:
        """Whether a target of the route would serve now; UnknownModelError."""
        return any(self._is_up(target) for target in self.route(name).targets)

    def route(self, model: str) -> Route:
        """The route that a model name asks for; UnknownModelError names those there are."""
        route = self.routes.get(model)
        if route is None:
            known = ", ".join(sorted(self.routes))
            raise UnknownModelError(
                f"The model `{model[:128]}` does not exist. Known models: {known}.", param="model"
            )
        return route

    async def embed(self, request: EmbeddingRequest, caller: Caller) -> EmbeddingResult:
        """Vectors for an authenticated caller's request; any EmbedwayError.

        Cancelling this coroutine cancels the calls to targets.
        """
        route = self.route(request.model)
        _require_space(route, request.pinned_space)
        dimensions = checked_dimension(route.space, request.dimensions)
        try:
            async with asyncio.timeout(request.deadline_s - self._clock.monotonic_s()):
                batch = await self._encode(route, request)
                done, receipt = await self._metered(route, batch, request, caller)
        except TimeoutError as error:
            raise DeadlineExceededError("the deadline of the request has passed") from error
        return EmbeddingResult(
            vectors=narrow(done.vectors, dimensions),
            prompt_tokens=batch.total,
            model=route.name,
            space=route.space.name,
            target=",".join(done.targets) or FROM_MEMORY,
            cached_tokens=done.saved_tokens,
            attempts=done.attempts,
            receipt=receipt,
        )

    async def _encode(self, route: Route, request: EmbeddingRequest) -> TokenBatch:
        space, texts = route.space, route.needs_texts
        tokenizer = self._tokenizers[space.name]
        if _characters(request) <= _THREAD_ABOVE_CHARACTERS:
            return encode_request(space, tokenizer, request, with_texts=texts)
        return await asyncio.to_thread(encode_request, space, tokenizer, request, with_texts=texts)

    async def _metered(
        self, route: Route, batch: TokenBatch, request: EmbeddingRequest, caller: Caller
    ) -> tuple[Dispatched, Receipt | None]:
        """Reserve what the calls may cost, and settle it, or refund it however they end."""
        attempts: list[Attempt] = []
        if self._meter is None:
            return await self._dispatch(route, batch, request, caller, attempts, None), None
        asked = Asked(caller, route, batch.count, request.request_id, request.trace_id)
        reservation = await self._meter.reserve(asked, batch.total)
        try:
            done = await self._dispatch(route, batch, request, caller, attempts, reservation)
        except BaseException as error:
            reservation.refund(self._status(error, request.deadline_s), len(attempts))
            raise
        return done, reservation.settle(_outcome(done, batch.total))

    async def _dispatch(
        self,
        route: Route,
        batch: TokenBatch,
        request: EmbeddingRequest,
        caller: Caller,
        attempts: list[Attempt],
        reservation: Reservation | None,
    ) -> Dispatched:
        """The attempts: everything that happens between exact counts and checked vectors."""
        needs = needs_of(
            batch,
            tenant=caller.tenant,
            tag=request.tag,
            input_type=request.input_type,
            texts=request.texts,
            wall_s=self._clock.wall_s(),
            may_spend=reservation is None or not reservation.is_near_the_end,
        )
        share = request.cache and caller.tenant not in self._uncached_tenants
        return await self._dispatcher.embed(
            route, batch, needs, request.deadline_s, attempts, share=share
        )

    def _status(self, error: BaseException, deadline_s: float) -> str:
        """How the ledger calls the end of a request; at its deadline it is cancelled from here."""
        if isinstance(error, asyncio.CancelledError):
            is_late = self._clock.monotonic_s() >= deadline_s
            return DeadlineExceededError.code if is_late else CANCELLED
        return error.code if isinstance(error, EmbedwayError) else EmbedwayError.code


def _outcome(done: Dispatched, tokens: int) -> Outcome:
    """What the ledger keeps of an answer: each call that gave vectors is paid for."""
    computed: dict[str, int] = {}
    for attempt in done.attempts:
        if attempt.outcome == OK:
            computed[attempt.target] = computed.get(attempt.target, 0) + attempt.tokens
    return Outcome(
        target=",".join(done.targets) or FROM_MEMORY,
        tokens=tokens,
        cached_tokens=done.saved_tokens,
        computed=computed,
        attempts=len(done.attempts),
    )


def _require_space(route: Route, pinned: str | None) -> None:
    if pinned is not None and pinned != route.space.name:
        raise SpaceMismatchError(
            f"{route.name} answers in the space {route.space.name}, "
            f"the request is pinned to {pinned[:128]}"
        )


def _characters(request: EmbeddingRequest) -> int:
    if request.texts is not None:
        return sum(map(len, request.texts))
    return sum(map(len, request.token_ids or ()))
