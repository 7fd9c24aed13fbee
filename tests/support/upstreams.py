"""Targets that misbehave, each in one way."""

import asyncio
import threading

import numpy as np

from router.domain.journal import Call
from router.domain.types import Float32Array, TokenBatch
from router.upstreams.fake import FakeUpstream


class OneTooFew(FakeUpstream):
    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        return (await super().embed(batch, timeout_s, call))[:-1]


class OneTooMany(FakeUpstream):
    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        vectors = await super().embed(batch, timeout_s, call)
        return np.concatenate([vectors, vectors[:1]])


class NotANumber(FakeUpstream):
    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        vectors = await super().embed(batch, timeout_s, call)
        vectors[-1, 3] = np.nan
        return vectors


class Infinite(FakeUpstream):
    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        vectors = await super().embed(batch, timeout_s, call)
        vectors[-1, 3] = np.inf
        return vectors


class NotUnit(FakeUpstream):
    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        return np.float32(1.05) * await super().embed(batch, timeout_s, call)


class OtherDimension(FakeUpstream):
    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        vectors = (await super().embed(batch, timeout_s, call))[:, :-1]
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


class Held(FakeUpstream):
    """Answers nothing before `go` is set, however long a machine takes until then."""

    def __init__(self, dimensions: int) -> None:
        super().__init__(dimensions)
        self.go = threading.Event()

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        while not self.go.is_set():  # noqa: ASYNC110 - set by the test's thread
            await asyncio.sleep(0.005)
        return await super().embed(batch, timeout_s, call)


class Defective(FakeUpstream):
    """Fails as no upstream may: with an exception that is not of the router's tree."""

    def __init__(self, dimensions: int, message: str) -> None:
        super().__init__(dimensions)
        self._message = message

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        del batch, timeout_s, call
        raise RuntimeError(self._message)
