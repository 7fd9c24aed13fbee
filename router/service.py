"""The way of a request, from top to bottom."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from router.dispatch.dispatcher import Dispatched, Dispatcher
from router.domain.clock import Clock
from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    QuotaError,
    SpaceMismatchError,
    UnknownModelError,
)
from router.domain.journal import Attempt, Phase, billed_tokens
from router.domain.ports import RequestReports, Tokenizer
from router.domain.types import (
    Caller,
    EmbeddingRequest,
    EmbeddingResult,
    Route,
    TokenBatch,
)
from router.domain.usage import CANCELLED, Receipt
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

    def __init__(  # noqa: PLR0913 - the parts that it brings together
        self,
        *,
        routes: Mapping[str, Route],
        pins: Mapping[str, Mapping[str, str]],
        tokenizers: Mapping[str, Tokenizer],
        dispatcher: Dispatcher,
        is_up: Callable[[str], bool],
        uncached_tenants: frozenset[str],
        meter: Meter | None,
        reports: RequestReports,
        clock: Clock,
        language_of: Callable[[str], str | None] | None = None,
    ) -> None:
        """Take pins by tenant: for a name that is asked for, the route that answers instead.

        Tokenizers come by space; `is_up` tells of a target by name; no meter counts nothing.

        `language_of` is given where a rule asks for the language of a text.
        """
        self.routes = routes
        self._pins = pins
        self._tokenizers = tokenizers
        self._dispatcher = dispatcher
        self._is_up = is_up
        self._uncached_tenants = uncached_tenants
        self._meter = meter
        self._reports = reports
        self._clock = clock
        self._language_of = language_of

    def is_route_ready(self, name: str, tenant: str | None = None) -> bool:
        """Whether a target of the route would serve now; UnknownModelError."""
        return any(self._is_up(target) for target in self.route(name, tenant).targets)

    def names_for(self, tenant: str | None) -> list[str]:
        """Names that a tenant may ask for: routes, and what it was pinned away from."""
        return list({**self.routes, **self._pins.get(tenant or "", {})})

    def answering(self, model: str, tenant: str | None) -> str | None:
        """Name of the route that answers a tenant that asks for a model; None where none does."""
        name = self._pins.get(tenant or "", {}).get(model, model)
        return name if name in self.routes else None

    def route(self, model: str, tenant: str | None) -> Route:
        """The route that answers a tenant; UnknownModelError names those there are.

        This is the only place where a pin is looked at, once for each request: a tenant's queries
        and index are in one space or in the other.
        """
        name = self.answering(model, tenant)
        if name is None:
            known = ", ".join(sorted(self.names_for(tenant)))
            raise UnknownModelError(
                f"The model `{model[:128]}` does not exist. Known models: {known}.", param="model"
            )
        return self.routes[name]

    async def embed(self, request: EmbeddingRequest, caller: Caller) -> EmbeddingResult:
        """Vectors for an authenticated caller's request; any EmbedwayError.

        Cancelling this coroutine cancels the calls to targets.
        """
        route = self.route(request.model, caller.tenant)
        _require_space(route, request.pinned_space)
        dimensions = checked_dimension(route.space, request.dimensions)
        try:
            async with asyncio.timeout(request.deadline_s - self._clock.monotonic_s()) as time:
                with request.journal.phase("tokenise", self._clock) as phase:
                    batch = await self._encode(route, request)
                    phase.facts = (("inputs", batch.count), ("tokens", batch.total))
                done, receipt = await self._metered(route, batch, request, caller, time)
        except TimeoutError as error:
            raise DeadlineExceededError("the deadline of the request has passed") from error
        self._reports.embedded(route.name, caller.tenant, batch.total, done.saved_tokens, receipt)
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
        self,
        route: Route,
        batch: TokenBatch,
        request: EmbeddingRequest,
        caller: Caller,
        time: asyncio.Timeout,
    ) -> tuple[Dispatched, Receipt | None]:
        """Reserve what the calls may cost, and settle it however they end."""
        journal = request.journal
        try:
            if self._meter is None:
                return await self._dispatch(route, batch, request, caller, None), None
            asked = Asked(caller, route, batch.count, request.request_id, journal.trace_id)
            with journal.phase("quota", self._clock) as phase:
                reservation = await _reserved(self._meter, asked, batch.total, phase)
            try:
                done = await self._dispatch(route, batch, request, caller, reservation)
            except BaseException as error:
                outcome = _unanswered(journal.attempts, _status(error, time))
                receipt = reservation.settle(outcome)
                self._reports.unanswered(caller.tenant, receipt)
                raise
            return done, reservation.settle(_outcome(done, batch.total))
        except QuotaError as error:
            self._reports.refused(caller.tenant, error)
            raise
        finally:
            self._reports.attempted(journal.attempts, journal.exemplar)

    async def _dispatch(
        self,
        route: Route,
        batch: TokenBatch,
        request: EmbeddingRequest,
        caller: Caller,
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
            language_of=self._language_of,
        )
        share = request.cache and caller.tenant not in self._uncached_tenants
        return await self._dispatcher.embed(
            route, batch, needs, request.deadline_s, request.journal, share=share
        )


async def _reserved(meter: Meter, asked: Asked, tokens: int, phase: Phase) -> Reservation:
    """What the calls may cost, set aside; a refusal is noted with the quota that refused."""
    try:
        return await meter.reserve(asked, tokens)
    except QuotaError as error:
        phase.facts = (("refused_by", error.quota),)
        raise


def _status(error: BaseException, time: asyncio.Timeout) -> str:
    """How the ledger calls the end of a request; at its deadline it is cancelled from here."""
    if isinstance(error, asyncio.CancelledError):
        return DeadlineExceededError.code if time.expired() else CANCELLED
    return error.code if isinstance(error, EmbedwayError) else EmbedwayError.code


def _outcome(done: Dispatched, tokens: int) -> Outcome:
    """What the ledger keeps of an answer: each call that may be billed is paid for."""
    return Outcome(
        target=",".join(done.targets) or FROM_MEMORY,
        tokens=tokens,
        cached_tokens=done.saved_tokens,
        billed=billed_tokens(done.attempts),
        attempts=len(done.attempts),
    )


def _unanswered(attempts: Sequence[Attempt], status: str) -> Outcome:
    """What the ledger keeps of a request without an answer: what its calls may have cost."""
    billed = billed_tokens(attempts)
    return Outcome(",".join(billed), sum(billed.values()), 0, billed, len(attempts), status)


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
