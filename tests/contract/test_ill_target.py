"""A Triton model whose canaries are wrong is out of service for the router, until it answers."""

from typing import Any

import grpc
import numpy as np
import pytest

from benchmarks.processes import free_port
from benchmarks.stub_triton import StubTriton
from router.domain.errors import UpstreamUnavailableError
from router.domain.types import TokenBatch
from router.upstreams.triton import TritonUpstream


class IllTriton(StubTriton):
    """Says that it is ready, and refuses to answer, as a Triton before 2026 does."""

    is_ill = True

    async def infer(self, data: bytes, context: Any) -> bytes:
        if self.is_ill:
            sentence = "the model is not ready: a text's vector has drifted: cosine 0.5"
            await context.abort(grpc.StatusCode.UNAVAILABLE, sentence)
        return await super().infer(data, context)


async def test_refused_canaries_make_a_target_not_ready() -> None:
    """After such a refusal a target is not ready, whatever Triton says, until it answers again."""
    triton, port = IllTriton(), free_port()
    server = triton.server(port)
    await server.start()
    upstream = TritonUpstream(f"grpc://127.0.0.1:{port}", "bench_8")
    try:
        assert await upstream.ready() is True
        one = np.ones(1, np.int32)
        with pytest.raises(UpstreamUnavailableError, match="its canaries are wrong"):
            await upstream.embed(TokenBatch(one, one), 5)
        assert await upstream.ready() is False
        triton.is_ill = False
        assert await upstream.ready() is True
    finally:
        await upstream.close()
        await server.stop(None)
