"""A provider on loopback: keeps its manners, gives a text's own vector, and fails on demand."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Self

import numpy as np
import orjson
import pybase64
from aiohttp import web

from benchmarks.chaos.manners import MANNERS, complaint, refusal
from router.domain.types import Float32Array
from router.text.golden import CANARY

API_KEY = "provider-key-0123456789"
_SHUTDOWN_S = 0.2

Fault = Callable[["LocalProvider", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def text_vector(text: str, dimensions: int, model: str = "right") -> Float32Array:
    """The unit vector of a text in a model: another model's has nothing to do with it."""
    seed = hashlib.blake2b(f"{model}\0{text}".encode(), digest_size=8).digest()
    vector = np.random.default_rng(int.from_bytes(seed)).standard_normal(dimensions, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


class LocalProvider:
    """A server of one provider's kind. `fault`, while set, answers in its stead."""

    def __init__(self, kind: str, dimensions: int = 384, delay_s: float = 0.0) -> None:
        self.manners = MANNERS[kind]
        self.dimensions = dimensions
        self.delay_s = delay_s
        self.model = "right"
        self.fault: Fault | None = None
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.calls = 0
        self.served = 0
        self._port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Base address, without the path of the call."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen; after a stop, on the same port again."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post(self.manners.path, self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and cut what is under way."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def document(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of a server in good health, vectors as the call wants them."""
        texts: list[str] = body.get("texts") or body["input"]
        rows = [self.written(self.vector(text), body) for text in texts]
        tokens = sum(len(text.split()) + 2 for text in texts)
        if self.manners.path == "/embed":
            billed = {"billed_units": {"input_tokens": tokens}}
            return {"id": "1", "embeddings": {"float": rows}, "texts": texts, "meta": billed}
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
        answer: dict[str, Any] = {"object": "list", "data": data, "model": body["model"]}
        if self.manners.has_usage:
            answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return answer

    def vector(self, text: str) -> Float32Array:
        """The vector of a text in the model that the server runs at the moment."""
        vector = text_vector(text, self.dimensions, self.model)
        return vector if self.manners.unit_length else np.asarray(vector * 7.5, np.float32)

    def written(self, vector: Float32Array, body: dict[str, Any]) -> Any:  # noqa: ANN401
        """A vector as JSON in the encoding that was asked for."""
        if body.get("encoding_format") == "base64":
            return pybase64.b64encode(vector.tobytes()).decode()
        return vector

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.calls += 1
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        del self.bodies[:-100], self.headers[:-100]
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return reply(refusal(self.manners, "Incorrect API key provided"), 401)
        problem = complaint(self.manners, body)
        if problem is not None:
            return reply(refusal(self.manners, problem), self.manners.malformed_status)
        if self.fault is not None:
            return await self.fault(self, request, body)
        await asyncio.sleep(self.delay_s)
        # Requests carry a canary at the end; what the prober sends does not.
        self.served += (body.get("texts") or body["input"])[-1] == CANARY
        return reply(self.document(body), 200, self.manners.limit_headers)


def reply(
    document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    return web.Response(
        status=status,
        body=orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY),
        content_type="application/json",
        headers=headers,
    )
