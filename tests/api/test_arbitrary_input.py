"""Properties of what the doors read and write, for inputs that nobody thought of."""

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from router.api import kserve
from router.domain.errors import InvalidInputError
from router.vectors.codecs import json_base64, json_floats
from tests.support.router_under_test import RouterUnderTest
from tests.support.wire import AUTHORIZATION, call

FLOATS = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=24),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
# Over HTTP every example costs milliseconds; the router is the same for all of them.
OVER_HTTP = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PURE = settings(max_examples=300, derandomize=True, deadline=None, database=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
IDS = st.lists(st.integers(-5, 40_000), max_size=5)
FIELDS: dict[str, Any] = {
    "model": st.sampled_from(["plain", "org/wide", "nothing", ""]) | JSON,
    "input": st.text() | st.lists(st.text(), max_size=4) | IDS | st.lists(IDS, max_size=3) | JSON,
}
OPTIONAL: dict[str, Any] = {
    "dimensions": st.integers() | JSON,
    "encoding_format": st.sampled_from(["float", "base64"]) | JSON,
    "input_type": st.sampled_from(["query", "document", "clustering"]) | JSON,
    "instruction": st.text(max_size=20) | JSON,
    "truncate": st.booleans() | JSON,
    "user": st.text(max_size=5) | JSON,
}


@PURE
@given(FLOATS)
def test_base64_keeps_every_bit(vectors: np.ndarray) -> None:
    """Base64 gives back every finite float32, bit for bit."""
    texts = [json.loads(item) for item in json_base64(vectors)]
    back = np.stack([np.frombuffer(base64.b64decode(text, validate=True), "<f4") for text in texts])
    assert back.tobytes() == vectors.tobytes()


@PURE
@given(FLOATS)
@example(np.array([[1e-45, -0.0, 3.4028235e38, 0.1]], np.float32))
def test_decimal_digits_keep_every_bit(vectors: np.ndarray) -> None:
    """Decimal digits give back every finite float32, bit for bit, the sign of zero included."""
    back = np.array([json.loads(item) for item in json_floats(vectors)], np.float32)
    assert back.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("codec", [json_base64, json_floats])
def test_slices_are_encoded_as_they_look(codec: Any) -> None:
    """Rows of a larger array, and of a read-only one, are encoded as copies of them are."""
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    whole.setflags(write=False)
    assert codec(whole[1:3]) == codec(whole[1:3].copy())


@OVER_HTTP
@given(body=st.fixed_dictionaries(FIELDS, optional=OPTIONAL))
def test_any_json_body(router: RouterUnderTest, body: dict[str, Any]) -> None:
    """Whatever JSON comes, the answer is 200, or a fault of the request in OpenAI's shape."""
    answer = call(router, "POST", "/v1/embeddings", json.dumps(body).encode())
    assert answer.status in (200, 400, 404)
    if answer.status != 200:
        assert answer.error["type"] == "invalid_request_error"


TENSOR: dict[str, Any] = {
    "name": st.sampled_from(["TEXT", "INPUT_IDS", "LENGTHS"]) | JSON,
    "datatype": st.sampled_from(["BYTES", "INT32", "INT64"]) | JSON,
    "shape": st.lists(st.integers(-1, 4), max_size=4) | JSON,
}
TENSOR_OPTIONS: dict[str, Any] = {
    "data": st.lists(st.text(max_size=5) | st.integers(-1, 9), max_size=4) | JSON,
    "parameters": st.fixed_dictionaries({"binary_data_size": JSON}) | JSON,
}
INFER: dict[str, Any] = {
    "inputs": st.lists(st.fixed_dictionaries(TENSOR, optional=TENSOR_OPTIONS), max_size=3) | JSON
}
PARAMETERS = st.dictionaries(
    st.sampled_from(["dimensions", "timeout", "truncate", "instruction", "binary_data_output"]),
    JSON | st.integers(),
)
INFER_OPTIONS: dict[str, Any] = {"parameters": PARAMETERS | JSON, "outputs": JSON, "id": JSON}


@OVER_HTTP
@given(body=st.fixed_dictionaries(INFER, optional=INFER_OPTIONS))
def test_any_inference_body(router: RouterUnderTest, body: dict[str, Any]) -> None:
    """Whatever JSON comes as an inference request, the answer is 200, 400 or 504."""
    answer = call(router, "POST", "/v2/models/plain/infer", json.dumps(body).encode())
    assert answer.status in (200, 400, 504)


@OVER_HTTP
@given(data=st.binary(max_size=200), head=st.none() | st.integers(-1, 250))
def test_any_bytes(router: RouterUnderTest, data: bytes, head: int | None) -> None:
    """Whatever bytes come, to either door, the request is at fault and the router is not."""
    assert call(router, "POST", "/v1/embeddings", data).status == 400
    headers = AUTHORIZATION | ({"inference-header-content-length": str(head)} if head else {})
    assert call(router, "POST", "/v2/models/plain/infer", data, headers=headers).status == 400


@PURE
@given(
    datatype=st.sampled_from(["BYTES", "INT32", "INT64", "FP32", ""]),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=12).map(tuple),
    raw=st.binary(max_size=64),
)
@example("BYTES", (1,), b"\xff\xff\xff\xff")
@example("BYTES", (2,), b"\0\0\0\0\0\0\0\0")
def test_any_raw_tensor(datatype: str, shape: tuple[int, ...], raw: bytes) -> None:
    """Raw bytes are a tensor of exactly their shape, or an InvalidInputError."""
    try:
        tensor = kserve.tensor_from_raw("TEXT", datatype, shape, raw)
    except InvalidInputError:
        return
    assert len(tensor.values) == math.prod(shape)
    assert tensor.shape == shape


@PURE
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=6))
def test_texts_survive_as_raw_bytes(texts: list[str]) -> None:
    """Texts written as the protocol says are read as they were."""
    encoded = [text.encode() for text in texts]
    raw = b"".join(len(item).to_bytes(4, "little") + item for item in encoded)
    assert kserve.tensor_from_raw("TEXT", "BYTES", (len(texts),), raw).values == texts
