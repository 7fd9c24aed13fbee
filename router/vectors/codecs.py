"""Vectors to the wire. No float ever becomes a Python object: numpy's bytes are read directly."""

import orjson
import pybase64

from router.domain.types import Float32Array


def json_base64(vectors: Float32Array) -> list[bytes]:
    """Each row of (n, d) float32 as a JSON string of base64 over little-endian float32."""
    encode = pybase64.b64encode
    return [b'"%b"' % encode(row.data) for row in vectors]


def json_floats(vectors: Float32Array) -> list[bytes]:
    """Each row of (n, d) float32 as a JSON array; the shortest digits that read back the same."""
    dumps, option = orjson.dumps, orjson.OPT_SERIALIZE_NUMPY
    return [dumps(row, option=option) for row in vectors]
