"""A target that takes its time and sometimes fails, so that kills meet requests under way.

`python -m benchmarks.stress.target PORT`.
"""

import asyncio
import random
import sys
from typing import Any

import grpc
import uvloop

from benchmarks.stub_triton import StubTriton

MODEL = "bench_8"
_LATENCY_S = 0.05
_FAILURES = 0.02


class UnreliableTriton(StubTriton):
    """Answers after 50 ms, two in a hundred calls with an error."""

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(11)

    async def infer(self, data: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's own type
        """One vector for each sequence, or UNAVAILABLE."""
        await asyncio.sleep(_LATENCY_S)
        if self._random.random() < _FAILURES:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "stress")
        return await super().infer(data, context)


async def _serve(port: int) -> None:
    server = UnreliableTriton().server(port)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
