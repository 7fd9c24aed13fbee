"""Cohere's `POST /v2/embed`. Source: Cohere API reference, "Embed API (v2)"."""

from typing import Any

from router.domain.types import Float32Array, TokenBatch
from router.upstreams.json_vectors import at_path, ordered_vectors
from router.upstreams.provider import Endpoint

_DOCUMENT = "search_document"


class CohereDialect:
    """`texts` in, `embeddings.<type>` out, in order and without indices."""

    path = "/embed"

    def body(self, endpoint: Endpoint, batch: TokenBatch) -> dict[str, Any]:
        """The call's JSON. `input_type` must be there; what is too long is an error, not cut."""
        body: dict[str, Any] = {
            "model": endpoint.model,
            "texts": batch.texts,
            "input_type": batch.input_type or _DOCUMENT,
            "embedding_types": [endpoint.profile.encoding_format or "float"],
            "truncate": "NONE",
        }
        if endpoint.profile.sends_dimensions:
            body["output_dimension"] = endpoint.dimensions
        return body

    def vectors(self, document: Any, count: int) -> Float32Array:  # noqa: ANN401 - simdjson's own
        """(count, d) float32 in the order of the inputs."""
        floats = at_path(document, "embeddings.float")
        rows = floats if floats is not None else at_path(document, "embeddings.base64")
        return ordered_vectors(rows, count)  # type: ignore[arg-type]
