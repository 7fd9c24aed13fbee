"""The fixed vectors that stubs answer with."""

import numpy as np
import orjson

from benchmarks.cells import Shape
from router.domain.types import Float32Array
from router.vectors.codecs import json_base64, json_floats


def fixed_vectors(count: int, dimensions: int) -> Float32Array:
    """Unit vectors (count, dimensions) float32, the same every time."""
    vectors = np.random.default_rng(7).standard_normal((count, dimensions), dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


def openai_body(shape: Shape) -> bytes:
    """An answer in OpenAI's shape, as an upstream of that kind would send it."""
    write = json_base64 if shape.encoding == "base64" else json_floats
    rows = write(fixed_vectors(shape.texts, shape.dimensions))
    data = [
        {"object": "embedding", "index": i, "embedding": orjson.Fragment(row)}
        for i, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": 12 * shape.texts, "total_tokens": 12 * shape.texts}
    return orjson.dumps({"object": "list", "data": data, "model": shape.route, "usage": usage})
