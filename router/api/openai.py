"""OpenAI's embeddings API, to the letter, and its extensions.

Source: OpenAI API reference, "Create embeddings" and "Models".
"""

from typing import Literal

import msgspec
import orjson

from router.api.exchange import Exchange, Reply, answered, origin
from router.config.settings import Server
from router.domain.clock import Clock
from router.domain.errors import InvalidInputError, TooManyInputsError
from router.domain.types import EmbeddingRequest, EmbeddingResult
from router.service import EmbeddingService
from router.vectors.codecs import json_base64, json_floats

Inputs = str | list[str | int | list[int]]


class EmbeddingsBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a client sends. Fields after `user` are Embedway's own."""

    model: str
    input: Inputs
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    input_type: str | None = None
    instruction: str | None = None
    truncate: bool | None = None
    cache: bool | None = None


class OpenAIDoor:
    """`POST /v1/embeddings`, `GET /v1/models` and `GET /v1/models/{model}`."""

    def __init__(self, service: EmbeddingService, limits: Server, clock: Clock) -> None:
        self._service = service
        self._limits = limits
        self._clock = clock
        self._decoder = msgspec.json.Decoder(EmbeddingsBody)
        self._started_s = int(clock.wall_s())

    async def embeddings(self, exchange: Exchange) -> Reply:
        """Vectors for the body's inputs."""
        limits = self._limits
        data = await exchange.body(limits.max_body_bytes, limits.request_timeout_s)
        body = self._decode(data)
        request = self._request(body, exchange)
        facts = exchange.facts
        facts.route = self._service.answering(request.model, exchange.payer.tenant)
        facts.inputs = len(request.texts or request.token_ids or ())
        result = await self._service.embed(request, exchange.payer)
        answered(facts, result)
        return Reply(
            200,
            _response(result, base64=body.encoding_format == "base64"),
            headers=origin(result),
        )

    async def models(self, exchange: Exchange) -> Reply:
        """The names that the caller may ask for, as OpenAI lists models."""
        listed = [self._model(name) for name in self._service.names_for(exchange.tenant)]
        return Reply(200, orjson.dumps({"object": "list", "data": listed}))

    async def model(self, exchange: Exchange, model: str) -> Reply:
        """The route that answers; UnknownModelError."""
        route = self._service.route(model, exchange.tenant)
        return Reply(200, orjson.dumps(self._model(route.name)))

    def _model(self, name: str) -> dict[str, str | int]:
        return {"id": name, "object": "model", "created": self._started_s, "owned_by": "embedway"}

    def _decode(self, data: bytes) -> EmbeddingsBody:
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise InvalidInputError(*_explained(str(error))) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInputError("We could not parse the JSON body of your request.") from error

    def _request(self, body: EmbeddingsBody, exchange: Exchange) -> EmbeddingRequest:
        texts, ids = _inputs(body.input, self._limits.max_inputs)
        return EmbeddingRequest(
            model=body.model,
            deadline_s=exchange.arrived_s + self._limits.request_timeout_s,
            texts=texts,
            token_ids=ids,
            dimensions=_positive(body.dimensions),
            input_type=body.input_type,
            instruction=body.instruction,
            truncate=bool(body.truncate),
            pinned_space=exchange.pinned_space,
            tag=exchange.tag,
            cache=body.cache is not False,
            request_id=exchange.request_id,
            journal=exchange.journal,
        )


def _inputs(value: Inputs, most: int) -> tuple[list[str] | None, list[list[int]] | None]:
    """Texts or token ids, whichever they all are; InvalidInputError, TooManyInputsError."""
    if isinstance(value, str):
        value = [value]
    if not value:
        raise InvalidInputError("input cannot be an empty list.", param="input")
    kinds = {type(item) for item in value}
    if len(kinds) > 1:
        raise InvalidInputError(
            "input must be a string, a list of strings, a list of token ids or a list of lists "
            "of token ids, not a mixture.",
            param="input",
        )
    items = [value] if kinds == {int} else value
    if len(items) > most:
        raise TooManyInputsError(
            f"input holds {len(items)} items, at most {most} may be sent at a time.", param="input"
        )
    if not all(items):
        position = next(index for index, item in enumerate(items) if not item)
        raise InvalidInputError(f"input cannot be empty, input {position} is.", param="input")
    if kinds == {str}:
        return items, None  # type: ignore[return-value]
    return None, items  # type: ignore[return-value]


def _positive(dimensions: int | None) -> int | None:
    if dimensions is not None and dimensions < 1:
        raise InvalidInputError("dimensions must be at least 1.", param="dimensions")
    return dimensions


def _explained(problem: str) -> tuple[str, str | None]:
    """The decoder's sentence and the field it is about ("… - at `$.input[3]`")."""
    sentence, _, place = problem.partition(" - at `$")
    field = place.rstrip("`").lstrip(".").partition("[")[0].partition(".")[0] or None
    if "unknown field" in sentence:
        name = sentence.rpartition("unknown field ")[2].strip("`")
        return f"Unrecognized request argument supplied: {name[:128]}", None
    where = f"{field}: " if field else ""
    return f"{where}{sentence}", field


def _response(result: EmbeddingResult, *, base64: bool) -> bytes:
    """The answer's JSON, put together from vectors that are JSON already."""
    vectors = json_base64(result.vectors) if base64 else json_floats(result.vectors)
    parts = [b'{"object":"list","data":[']
    for index, vector in enumerate(vectors):
        comma = b"," if index else b""
        parts.append(b'%b{"object":"embedding","index":%d,"embedding":' % (comma, index))
        parts.append(vector)
        parts.append(b"}")
    tokens, cached = result.prompt_tokens, result.cached_tokens
    details = b',"prompt_tokens_details":{"cached_tokens":%d}' % cached if cached else b""
    parts.append(
        b'],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d%b}}'
        % (orjson.dumps(result.model), tokens, tokens, details)
    )
    return b"".join(parts)
