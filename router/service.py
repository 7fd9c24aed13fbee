"""The way of a request, from top to bottom."""

import asyncio
from collections.abc import Callable, Mapping

from router.domain.clock import Clock
from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    SpaceMismatchError,
    UnknownModelError,
)
from router.domain.ports import Tokenizer, Upstream
from router.domain.types import (
    Caller,
    EmbeddingRequest,
    EmbeddingResult,
    Float32Array,
    Route,
    Space,
    TokenBatch,
)
from router.domain.usage import CANCELLED, Receipt
from router.metering.meter import Meter
from router.metering.reservation import Asked
from router.policy.admission import Room
from router.routing.plan import candidates
from router.text.encode import encode_request
from router.vectors.checks import require_contract
from router.vectors.matryoshka import checked_dimension, narrow

# Above this, tokenising takes milliseconds and is done off the event loop (the tokenizer lets go
# of the interpreter), so that one large request does not hold up the small ones.
_THREAD_ABOVE_CHARACTERS = 20_000


class EmbeddingService:
    """Answers embedding requests; built once by `app.py` from parts that do not know each other."""

    def __init__(
        self,
        *,
        routes: Mapping[str, Route],
        tokenizers: Mapping[str, Tokenizer],
        upstreams: Mapping[str, Upstream],
        rooms: Mapping[str, Room],
        is_ready: Callable[[str], bool],
        meter: Meter | None,
        clock: Clock,
    ) -> None:
        """Take tokenizers by space; upstreams and rooms by target; no meter counts nothing."""
        self.routes = routes
        self._tokenizers = tokenizers
        self._upstreams = upstreams
        self._rooms = rooms
        self._is_ready = is_ready
        self._meter = meter
        self._clock = clock

    def is_route_ready(self, name: str) -> bool:
        """Whether a target of the route would serve now; UnknownModelError."""
        return any(self._is_ready(target) for target in self.route(name).targets)

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

        Cancelling this coroutine cancels the call to the target.
        """
        route = self.route(request.model)
        _require_space(route, request.pinned_space)
        dimensions = checked_dimension(route.space, request.dimensions)
        try:
            async with asyncio.timeout(request.deadline_s - self._clock.monotonic_s()):
                batch = await self._encode(route.space, request)
                target, vectors, receipt = await self._metered(route, request, caller, batch)
        except TimeoutError as error:
            raise DeadlineExceededError("the deadline of the request has passed") from error
        return EmbeddingResult(
            vectors=narrow(vectors, dimensions),
            prompt_tokens=batch.total,
            model=route.name,
            space=route.space.name,
            target=target,
            receipt=receipt,
        )

    async def _encode(self, space: Space, request: EmbeddingRequest) -> TokenBatch:
        tokenizer = self._tokenizers[space.name]
        if _characters(request) <= _THREAD_ABOVE_CHARACTERS:
            return encode_request(space, tokenizer, request)
        return await asyncio.to_thread(encode_request, space, tokenizer, request)

    async def _metered(
        self, route: Route, request: EmbeddingRequest, caller: Caller, batch: TokenBatch
    ) -> tuple[str, Float32Array, Receipt | None]:
        """Reserve what the call may cost, and settle it, or refund it however the call ends."""
        if self._meter is None:
            return *await self._attempt(route, batch, request.deadline_s), None
        asked = Asked(caller, route, batch.count, request.request_id, request.trace_id)
        reservation = await self._meter.reserve(asked, batch.total)
        try:
            target, vectors = await self._attempt(route, batch, request.deadline_s)
        except BaseException as error:
            reservation.refund(self._status(error, request.deadline_s), attempts=1)
            raise
        return target, vectors, reservation.settle(target, batch.total, attempts=1)

    def _status(self, error: BaseException, deadline_s: float) -> str:
        """How the ledger calls the end of a request; at its deadline it is cancelled from here."""
        if isinstance(error, asyncio.CancelledError):
            is_late = self._clock.monotonic_s() >= deadline_s
            return DeadlineExceededError.code if is_late else CANCELLED
        return error.code if isinstance(error, EmbedwayError) else EmbedwayError.code

    async def _attempt(
        self, route: Route, batch: TokenBatch, deadline_s: float
    ) -> tuple[str, Float32Array]:
        target = candidates(route, self._is_ready)[0]
        room = self._rooms[target]
        room.enter(batch.total)
        try:
            remaining_s = deadline_s - self._clock.monotonic_s()
            vectors = await self._upstreams[target].embed(batch, remaining_s)
        finally:
            room.leave(batch.total)
        require_contract(vectors, batch.count, route.space.dimensions)
        return target, vectors


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
