"""Any running server of an embedding model, asked in text over OpenAI's API or Triton's gRPC."""

from collections.abc import Sequence
from typing import Any, Protocol

import grpc
import numpy as np
import orjson
import tritonclient.grpc.aio as triton
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from router.domain.errors import (
    ConfigurationError,
    RequestError,
    UpstreamContractError,
    UpstreamError,
    UpstreamUnavailableError,
)
from router.domain.types import Float32Array
from router.upstreams.http_call import HttpAnswer, HttpPost

_TIMEOUT_S = 120.0
_MAX_BYTES = 256 * 2**20


class RunningTarget(Protocol):
    """A server that is asked for vectors of texts."""

    async def embed(self, texts: Sequence[str], dimensions: int | None) -> Float32Array:
        """Vectors (n, d) float32; RequestError where the server refuses, or an UpstreamError."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


def running_target(url: str, model: str, key: str | None) -> RunningTarget:
    """The target at http(s)://…/v1 or grpc://host:port; ConfigurationError for anything else."""
    if url.startswith(("http://", "https://")):
        return OpenAITarget(url, model, key)
    if url.startswith("grpc://"):
        return TritonTarget(url.removeprefix("grpc://"), model, key)
    raise ConfigurationError(f"{url}: give http(s)://HOST/v1 or grpc://HOST:PORT")


class OpenAITarget:
    """A server of OpenAI's embeddings API."""

    def __init__(self, url: str, model: str, key: str | None) -> None:
        self._url = url.rstrip("/") + "/embeddings"
        self._model = model
        # Gates ask for the same texts again and again: a router's memory must not answer them.
        # Other servers refuse the field, which the first refusal shows.
        self._anew: dict[str, bool] = {"cache": False}
        self._http = HttpPost({} if key is None else {"authorization": f"Bearer {key}"})

    async def embed(self, texts: Sequence[str], dimensions: int | None) -> Float32Array:
        """Vectors as floats, which every such server writes."""
        body: dict[str, Any] = {"model": self._model, "input": list(texts)}
        if dimensions is not None:
            body["dimensions"] = dimensions
        answer = await self._post(body | self._anew)
        if self._anew and answer.status in (400, 422):
            plain = await self._post(body)
            if plain.status == 200:
                self._anew = {}
            answer = plain
        if 400 <= answer.status < 500:
            raise RequestError(f"refused with {answer.status}: {_message(answer.body)}")
        if answer.status != 200:
            raise UpstreamError(f"failed with {answer.status}: {_message(answer.body)}")
        try:
            rows = sorted(orjson.loads(answer.body)["data"], key=lambda row: row["index"])
            return np.array([row["embedding"] for row in rows], np.float32)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UpstreamContractError("the answer is not one of OpenAI's API") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _post(self, body: dict[str, Any]) -> HttpAnswer:
        return await self._http.post(self._url, orjson.dumps(body), _TIMEOUT_S, _MAX_BYTES)


class TritonTarget:
    """A model of the backend `embedding` on a Triton, or this router's own gRPC door."""

    def __init__(self, address: str, model: str, key: str | None) -> None:
        self._client = triton.InferenceServerClient(address)
        self._model = model
        self._headers = None if key is None else {"authorization": f"Bearer {key}"}

    async def embed(self, texts: Sequence[str], dimensions: int | None) -> Float32Array:
        """Vectors of the tensor TEXT."""
        tensor = InferInput("TEXT", [1, len(texts)], "BYTES")
        encoded = [text.encode() for text in texts]
        tensor.set_data_from_numpy(np.array([encoded], dtype=object))
        if dimensions is not None and self._headers is None:
            raise RequestError("a Triton answers at full width")
        parameters = None if dimensions is None else {"dimensions": dimensions}
        try:
            answer = await self._client.infer(
                self._model, [tensor], headers=self._headers, parameters=parameters,
                client_timeout=_TIMEOUT_S,
            )  # fmt: skip
        except InferenceServerException as error:
            raise _translated(error) from error
        vectors: Float32Array | None = answer.as_numpy("EMBEDDING")
        if vectors is None:
            raise UpstreamContractError("the answer holds no EMBEDDING")
        return vectors.reshape(len(texts), -1)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def _message(body: bytes) -> str:
    """The server's own words, as far as they are OpenAI's shape."""
    try:
        return str(orjson.loads(body)["error"]["message"])[:300]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no message"


def _translated(error: InferenceServerException) -> RequestError | UpstreamError:
    status = str(error.status())
    if status == str(grpc.StatusCode.UNAVAILABLE):
        return UpstreamUnavailableError(f"unavailable: {error.message()[:300]}")
    return RequestError(f"refused: {error.message()[:300]}")
