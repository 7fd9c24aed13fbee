"""A route of a running router, asked for vectors of one space and no other."""

import asyncio
from collections.abc import Sequence

import numpy as np
import orjson

from router.domain.errors import (
    RequestError,
    SpaceMismatchError,
    UpstreamContractError,
    UpstreamError,
)
from router.domain.types import Float32Array
from router.upstreams.http_call import HttpAnswer, HttpPost

_TIMEOUT_S = 120.0
_MAX_BYTES = 256 * 2**20
_SPACE_HEADER = "x-embedway-space"
# A router that is busy, restarting or out of its limit for this minute is asked again.
_PAUSES_S = (0.5, 2.0, 8.0)
_PASSING = {429, 500, 502, 503, 504}


class RoutedTarget:
    """One route; `space` is where it answers, once that is known."""

    def __init__(self, url: str, route: str, key: str | None, space: str | None) -> None:
        """`url` is http(s)://HOST/v1. Needs a running event loop."""
        self.space = space
        self._url = url.rstrip("/") + "/embeddings"
        self._route = route
        self._http = HttpPost({} if key is None else {"authorization": f"Bearer {key}"})

    async def all_of(self, texts: Sequence[str], input_type: str, batch: int) -> Float32Array:
        """Vectors (n, d) float32 of any number of texts, `batch` at a time."""
        starts = range(0, len(texts), batch)
        parts = [await self.embed(texts[at : at + batch], input_type) for at in starts]
        return np.concatenate(parts)

    async def embed(self, texts: Sequence[str], input_type: str) -> Float32Array:
        """Vectors (n, d) float32; RequestError where it refuses, or an UpstreamError.

        SpaceMismatchError where the route answers in another space than it did.
        """
        body = {
            "model": self._route, "input": list(texts), "input_type": input_type, "truncate": True,
        }  # fmt: skip
        headers = {} if self.space is None else {_SPACE_HEADER: self.space}
        answer = await self._patiently(orjson.dumps(body), headers)
        if answer.status != 200:
            kind = RequestError if answer.status < 500 else UpstreamError
            # The router's code, which is one of a list; its sentence may quote what was sent.
            raise kind(f"{self._route}: refused with {answer.status} {_code(answer.body)}")
        space = answer.headers.get(_SPACE_HEADER)
        if space is None:
            raise UpstreamContractError(f"{self._route}: the answer does not tell its space")
        if self.space not in {None, space}:
            raise SpaceMismatchError(f"{self._route} answers in {space}, not in {self.space}")
        self.space = space
        try:
            rows = sorted(orjson.loads(answer.body)["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], np.float32)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UpstreamContractError("the answer is not one of OpenAI's API") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise UpstreamContractError(f"{self._route}: not as many vectors as texts")
        return vectors

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _patiently(self, body: bytes, headers: dict[str, str]) -> HttpAnswer:
        for pause_s in _PAUSES_S:
            try:
                answer = await self._http.post(self._url, body, _TIMEOUT_S, _MAX_BYTES, headers)
            except UpstreamError:
                pass
            else:
                if answer.status not in _PASSING:
                    return answer
            await asyncio.sleep(pause_s)
        return await self._http.post(self._url, body, _TIMEOUT_S, _MAX_BYTES, headers)


def _code(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["code"])[:64]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
