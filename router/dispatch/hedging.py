"""A second target is asked when the first takes unusually long; whoever answers first is heard."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from router.dispatch.attempts import FOUND_WRONG, Caller, Errand
from router.domain.errors import UpstreamSpaceError
from router.domain.types import Float32Array, TokenBatch
from router.routing.targets import Standing, TargetState


@dataclass(frozen=True, slots=True)
class Hedge:
    """After which quantile of a target's latency the second one is asked."""

    quantile: float


async def hedged(
    caller: Caller,
    hedge: Hedge,
    state: TargetState,
    second: Callable[[], TargetState | None],
    batch: TokenBatch,
    errand: Errand,
    reason: str,
) -> tuple[str, Float32Array]:
    """Who answered, and vectors (n, d); the slower call is cancelled. Raises the last error.

    UpstreamSpaceError where who answered was found wrong before the slower call had ended.
    `second` gives the other target, or None where there is none or it may not be asked. `reason` is
    that of the first call.
    """
    patience_s = state.latency.quantile_s(hedge.quantile)
    if patience_s is None:
        return state.name, await caller.call(state, batch, errand, reason)
    loop = asyncio.get_running_loop()
    calls = {loop.create_task(caller.call(state, batch, errand, reason)): state}
    try:
        done, _ = await asyncio.wait(calls, timeout=patience_s)
        if not done and (other := second()) is not None:
            calls[loop.create_task(caller.call(other, batch, errand, "hedge"))] = other
        winner, vectors = await _first(calls)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    if winner.standing is Standing.QUARANTINED:
        raise UpstreamSpaceError(FOUND_WRONG)
    return winner.name, vectors


async def _first(
    calls: dict[asyncio.Task[Float32Array], TargetState],
) -> tuple[TargetState, Float32Array]:
    waiting = set(calls)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for call in done:
            if call.exception() is None:
                return calls[call], call.result()
        if not waiting:
            # All have failed; `result` raises the last one's error.
            return calls[call], call.result()
