"""OpenAI's embeddings API, as OpenAI and most providers of open models speak it.

Source: OpenAI API reference, "Create embeddings". What differs from provider to provider is data:
`config/providers.yaml`. No field is ever sent as null: providers refuse it, or unknown ones.
"""

from typing import Any

from router.domain.types import Float32Array, TokenBatch
from router.upstreams.json_vectors import indexed_vectors
from router.upstreams.provider import Endpoint


class OpenAIDialect:
    """`POST …/embeddings`: `input` as a list, `data` with an `index` at each vector."""

    path = "/embeddings"

    def body(self, endpoint: Endpoint, batch: TokenBatch) -> dict[str, Any]:
        """The call's JSON; always a list, so that one text is answered like many."""
        profile = endpoint.profile
        body: dict[str, Any] = {"model": endpoint.model, "input": batch.texts}
        if profile.encoding_format is not None:
            body["encoding_format"] = profile.encoding_format
        if profile.sends_dimensions:
            body["dimensions"] = endpoint.dimensions
        if batch.input_type is not None:
            body["input_type"] = batch.input_type
        return body

    def vectors(self, document: Any, count: int) -> Float32Array:  # noqa: ANN401 - simdjson's own
        """(count, d) float32 in the order of the inputs, whatever order they came in."""
        return indexed_vectors(document.get("data"), count)
