"""A second target is asked when the first takes unusually long; whoever answers first is heard."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from router.dispatch.attempts import Caller, Errand
from router.domain.types import Float32Array, TokenBatch
from router.routing.targets import TargetState


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
) -> tuple[str, Float32Array]:
    """Who answered, and vectors (n, d); the slower call is cancelled. Raises the last error.

    `second` gives the other target, or None where there is none or it may not be asked.
    """
    patience_s = state.latency.quantile_s(hedge.quantile)
    if patience_s is None:
        return state.name, await caller.call(state, batch, errand)
    loop = asyncio.get_running_loop()
    calls = {loop.create_task(caller.call(state, batch, errand)): state.name}
    try:
        done, _ = await asyncio.wait(calls, timeout=patience_s)
        if not done and (other := second()) is not None:
            calls[loop.create_task(caller.call(other, batch, errand))] = other.name
        return await _first(calls)
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _first(calls: dict[asyncio.Task[Float32Array], str]) -> tuple[str, Float32Array]:
    waiting = set(calls)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for call in done:
            if call.exception() is None:
                return calls[call], call.result()
        if not waiting:
            # All have failed; `result` raises the last one's error.
            return calls[call], call.result()
