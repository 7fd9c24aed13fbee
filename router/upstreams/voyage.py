"""Voyage's `POST /v1/embeddings`. Source: Voyage AI documentation, "Text embeddings API".

Its answer is OpenAI's; the fields of the call are not.
"""

from typing import Any

from router.domain.types import Float32Array, TokenBatch
from router.upstreams.json_vectors import indexed_vectors
from router.upstreams.provider import Endpoint


class VoyageDialect:
    """`output_dimension` and `input_type`; the profile adds `truncation: false`."""

    path = "/embeddings"

    def body(self, endpoint: Endpoint, batch: TokenBatch) -> dict[str, Any]:
        """The call's JSON."""
        body: dict[str, Any] = {"model": endpoint.model, "input": batch.texts}
        if batch.input_type is not None:
            body["input_type"] = batch.input_type
        if endpoint.profile.encoding_format is not None:
            body["encoding_format"] = endpoint.profile.encoding_format
        if endpoint.profile.sends_dimensions:
            body["output_dimension"] = endpoint.dimensions
        return body

    def vectors(self, document: Any, count: int) -> Float32Array:  # noqa: ANN401 - simdjson's own
        """(count, d) float32 in the order of the inputs."""
        return indexed_vectors(document.get("data"), count)
