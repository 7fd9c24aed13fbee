"""Keeps the Triton server alive: where it dies, it is started again on the same ports."""

import asyncio

from router.domain.clock import Clock
from router.up.errors import UpError
from router.up.progress import Stages
from router.up.triton_process import TritonProcess

_BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0)
# A server that lived this long was healthy: what ends it then is a new story.
_LONG_LIFE_S = 60.0


async def supervise(
    triton: TritonProcess, model: str, load_timeout_s: float, stages: Stages, clock: Clock
) -> None:
    """Watch until cancelled; give up after as many rapid failures as there are backoffs.

    Meanwhile the router answers 503 by itself, as for any target that is down.
    """
    failures = 0
    began_s = clock.monotonic_s()
    while True:
        await triton.wait_ended()
        if clock.monotonic_s() - began_s > _LONG_LIFE_S:
            failures = 0
        if failures == len(_BACKOFF_S):
            stages.note("Triton keeps failing and is not started again: requests are answered 503")
            return
        stages.note("Triton ended unexpectedly: starting it again")
        await asyncio.sleep(_BACKOFF_S[failures])
        failures += 1
        began_s = clock.monotonic_s()
        triton.start()
        try:
            await triton.wait_ready([model], load_timeout_s)
        except UpError as error:
            stages.note(str(error))
            triton.kill()
        else:
            stages.note("Triton serves again")
