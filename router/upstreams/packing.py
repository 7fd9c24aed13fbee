"""Joins the small batches that arrive in one turn of the event loop into one upstream call.

A call costs the router more than a short text's share of it, and Triton too. Nothing ever waits
for company: a pack leaves at the end of the very turn in which its first member came, so a lone
request is as fast as without packing, and the more there are, the cheaper each becomes. Nor does
anybody wait for a hanging target longer than alone: whose own time is over leaves the pack.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    UpstreamContractError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.journal import Call, SharedCall
from router.domain.ports import Pads, Upstream
from router.domain.types import Float32Array, TokenBatch

# Members whose time is shorter than the longest by a smaller part than this wait for the call's
# own timeout: deadlines that a few milliseconds set apart are no reason for a timer.
_SLACK = 0.05


@dataclass(slots=True)
class _Member:
    """Who waits for an answer, and how long from the moment on in which its call begins."""

    batch: TokenBatch
    timeout_s: float
    answer: asyncio.Future[Float32Array]
    call: Call | None


class PackingUpstream:
    """An upstream in front of another; the same contract, fewer calls."""

    def __init__(self, upstream: Upstream, max_tokens: int) -> None:
        """`max_tokens` bounds a joint call; a larger batch goes alone."""
        self._upstream = upstream
        self._max_tokens = max_tokens
        self._waiting: list[_Member] = []
        self._waiting_tokens = 0
        self._calls: set[asyncio.Task[None]] = set()
        # Calls that were made of small batches, and how many of these left in them.
        self.calls = 0
        self.members = 0

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        """Vectors (n, dimension) float32 of this batch alone, whoever shared its call."""
        if batch.total > self._max_tokens:
            return await self._upstream.embed(batch, timeout_s, call)
        if self._waiting_tokens + batch.total > self._max_tokens:
            self._leave()
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._leave)
        member = _Member(batch, timeout_s, loop.create_future(), call)
        self._waiting.append(member)
        self._waiting_tokens += batch.total
        return await member.answer

    @property
    def padding(self) -> tuple[int, int]:
        """Tokens, and places with padding, of what the upstream behind sent; 0 if it pads none."""
        behind = self._upstream
        return (behind.tokens, behind.places) if isinstance(behind, Pads) else (0, 0)

    async def ready(self) -> bool:
        """Whether the upstream behind is ready."""
        return await self._upstream.ready()

    async def close(self) -> None:
        """Close the upstream behind, and end what is under way."""
        await self._upstream.close()
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _leave(self) -> None:
        members = [member for member in self._waiting if not member.answer.done()]
        self._waiting, self._waiting_tokens = [], 0
        if members:
            self.calls += 1
            self.members += len(members)
            self._run(members)

    def _run(self, members: list[_Member]) -> None:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        times_s = [member.timeout_s for member in members]
        timeout_s = max(times_s)
        call = loop.create_task(self._call(members, timeout_s, begun_s))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        cancel = _cancel_when_all_left(members, call)
        for member in members:
            member.answer.add_done_callback(cancel)
        limit_s = timeout_s - _SLACK * abs(timeout_s)
        if (next_s := min(times_s)) < limit_s:
            _Patience(members, call, begun_s, limit_s).watch(next_s)

    async def _call(self, members: list[_Member], timeout_s: float, begun_s: float) -> None:
        try:
            batch = _joined(members)
            vectors = await self._upstream.embed(batch, timeout_s, _call_of(members, batch))
            _deal(vectors, members)
        except (UpstreamRejectedError, UpstreamContractError) as error:
            if len(members) == 1:
                _fail(members, error)
            else:
                # One member spoiled the answer of all: each is asked for again by itself, so
                # that it fails alone, in what is left of its time.
                spent_s = asyncio.get_running_loop().time() - begun_s
                for member in members:
                    if not member.answer.done():
                        member.timeout_s -= spent_s
                        self._run([member])
        except EmbedwayError as error:
            _fail(members, error)
        except asyncio.CancelledError:
            # Ours is cancelled when all members have left, or when the router shuts down.
            _fail(members, UpstreamUnavailableError("the router is shutting down"))
            raise
        except Exception as error:  # noqa: BLE001 - the top of a worker: its callers get it
            _fail(members, error)


class _Patience:
    """Lets those members of a pack go whose own time is over; the call goes on for the others.

    To them it is as if the call had timed out. There is one timer, for who is the next to go, and
    none any more once all who are left have about the call's own time.
    """

    __slots__ = ("_begun_s", "_call", "_limit_s", "_members", "_timer")

    def __init__(
        self, members: list[_Member], call: asyncio.Task[None], begun_s: float, limit_s: float
    ) -> None:
        """The call began at `begun_s` of the loop's time; waits from `limit_s` on end with it."""
        self._members = members
        self._call = call
        self._begun_s = begun_s
        self._limit_s = limit_s
        self._timer: asyncio.TimerHandle | None = None
        call.add_done_callback(self._end)

    def watch(self, next_s: float) -> None:
        """Let go of those who have `next_s`, and less, once that is over."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._begun_s + next_s, self._let_go, next_s)

    def _let_go(self, time_s: float) -> None:
        if self._call.done():
            # Who was not answered by it is asked for by itself now.
            return
        rest_s = []
        for member in self._members:
            if member.answer.done():
                continue
            if member.timeout_s <= time_s:
                late = DeadlineExceededError("the target did not answer in time")
                member.answer.set_exception(late)
            elif member.timeout_s < self._limit_s:
                rest_s.append(member.timeout_s)
        if rest_s:
            self.watch(min(rest_s))

    def _end(self, _: asyncio.Task[None]) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _joined(members: list[_Member]) -> TokenBatch:
    if len(members) == 1:
        return members[0].batch
    return TokenBatch(
        ids=np.concatenate([member.batch.ids for member in members]),
        lengths=np.concatenate([member.batch.lengths for member in members]),
    )


def _call_of(members: list[_Member], batch: TokenBatch) -> Call | None:
    """The joint call's place in a trace: below the first sampled member's, linked to all."""
    if len(members) == 1:
        return members[0].call
    calls = [member.call for member in members if member.call is not None]
    lead = next((call for call in calls if call.is_sampled), None)
    joint = None if lead is None else lead.joint()
    spans = tuple([(call.trace_id, call.span) for call in calls])
    shared = SharedCall(spans, lead.span if lead else 0, joint, batch.count, batch.total)
    for call in calls:
        call.shared = shared
    return joint


def _deal(vectors: Float32Array, members: list[_Member]) -> None:
    if len(vectors) != sum(member.batch.count for member in members):
        raise UpstreamContractError("the target answered another number of vectors than asked for")
    start = 0
    for member in members:
        end = start + member.batch.count
        if not member.answer.done():
            member.answer.set_result(vectors[start:end])
        start = end


def _fail(members: list[_Member], error: Exception) -> None:
    for member in members:
        if not member.answer.done():
            member.answer.set_exception(error)


def _cancel_when_all_left(
    members: list[_Member], call: asyncio.Task[None]
) -> Callable[[asyncio.Future[Float32Array]], None]:
    def left(_: asyncio.Future[Float32Array]) -> None:
        # Where the call has answered it is over by now, and nobody has to be looked at.
        if not call.done() and all(member.answer.done() for member in members):
            call.cancel()

    return left
