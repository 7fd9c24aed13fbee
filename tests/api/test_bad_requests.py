"""Requests at fault: each is told what is wrong, in OpenAI's shape, before any target is asked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import MAX_TOKENS
from tests.support.wire import AUTHORIZATION, call, embed

HUGE = int("9" * 4000)


@dataclass(frozen=True, slots=True)
class Case:
    """Fields of the body, and what the answer must say; `says` stands in the message."""

    fields: dict[str, Any]
    param: str | None = "input"
    code: str = "invalid_input"
    says: str = ""


CASES = {
    "empty list": Case({"input": []}, says="empty list"),
    "empty string": Case({"input": ""}, says="input 0"),
    "empty string in a list": Case({"input": ["a", ""]}, says="input 1"),
    "empty ids": Case({"input": [[]]}, says="input 0"),
    "empty ids in a list": Case({"input": [[5], []]}, says="input 1"),
    "text and ids": Case({"input": ["a", 5]}, says="mixture"),
    "text and list of ids": Case({"input": ["a", [5]]}, says="mixture"),
    "id and list of ids": Case({"input": [5, [5]]}, says="mixture"),
    "null": Case({"input": None}, says="null"),
    "null in a list": Case({"input": ["a", None]}, says="null"),
    "null in ids": Case({"input": [[5, None]]}, says="null"),
    "object": Case({"input": {"text": "a"}}),
    "boolean": Case({"input": True}),
    "boolean id": Case({"input": [True]}),
    "number": Case({"input": 5}),
    "fraction": Case({"input": [1.5]}),
    "text in ids": Case({"input": [["a"]]}),
    "three levels": Case({"input": [[[5]]]}),
    "negative id": Case({"input": [5, -1]}, says="0 and 30521"),
    "id over the vocabulary": Case({"input": [[5], [30522]]}, says="input 1"),
    "id over int32": Case({"input": [2**31]}, says="vocabulary"),
    "id over int64": Case({"input": [2**64]}, says="vocabulary"),
    "id of 4000 digits": Case({"input": [HUGE]}),
    "too many inputs": Case({"input": ["a"] * 2049}, code="too_many_inputs", says="2049"),
    "too many lists": Case({"input": [[5]] * 2049}, code="too_many_inputs", says="2049"),
    "text too long": Case(
        {"input": "word " * MAX_TOKENS}, code="context_length_exceeded", says=f"{MAX_TOKENS + 2}"
    ),
    "ids too long": Case({"input": [5] * 2049}, code="context_length_exceeded", says="2051 tokens"),
    "no shorter vectors": Case(
        {"dimensions": 128}, "dimensions", "invalid_dimensions", "only gives 384"
    ),
    "longer than the space": Case({"dimensions": 385}, "dimensions", "invalid_dimensions", "385"),
    "below the range": Case(
        {"model": "org/wide", "dimensions": 31}, "dimensions", "invalid_dimensions", "32 and 256"
    ),
    "above the range": Case(
        {"model": "org/wide", "dimensions": 257}, "dimensions", "invalid_dimensions", "32 and 256"
    ),
    "zero dimensions": Case({"dimensions": 0}, "dimensions", says="at least 1"),
    "negative dimensions": Case({"dimensions": -5}, "dimensions", says="at least 1"),
    "dimensions of 4000 digits": Case({"dimensions": HUGE}, "dimensions", "invalid_dimensions"),
    "dimensions as text": Case({"dimensions": "128"}, "dimensions"),
    "fractional dimensions": Case({"dimensions": 1.5}, "dimensions"),
    "bad encoding": Case({"encoding_format": "hex"}, "encoding_format", says="hex"),
    "encoding as a number": Case({"encoding_format": 1}, "encoding_format"),
    "user as a number": Case({"user": 1}, "user"),
    "truncate as text": Case({"truncate": "yes"}, "truncate"),
    "input type as a number": Case({"input_type": 1}, "input_type"),
    "model as a number": Case({"model": 1}, "model"),
    "unknown field": Case({"inputs": "a"}, None, says="inputs"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_field_at_fault(router: RouterUnderTest, case: Case) -> None:
    """The answer is 400, and names the field, the kind of fault and the figures that help."""
    answer = embed(router, **{"input": "a"} | case.fields)
    assert answer.status == 400, answer.body
    error = answer.error
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error", case.param, case.code,
    )  # fmt: skip
    assert case.says in error["message"]
    assert "retry-after" not in answer.headers


BODIES = {
    "nothing": b"",
    "not JSON": b"input=a",
    "cut off": b'{"model":"plain","input":"a',
    "trailing comma": b'{"model":"plain","input":"a",}',
    "two documents": b'{"model":"plain","input":"a"}{}',
    "an array": b'["plain","a"]',
    "a string": b'"a"',
    "invalid UTF-8": b'{"model":"plain","input":"\xff\xfe"}',
    "UTF-8 that encodes a surrogate": b'{"model":"plain","input":"\xed\xa0\x80"}',
    "a lone high surrogate": b'{"model":"plain","input":"\\ud800"}',
    "a lone low surrogate": b'{"model":"plain","input":["a","\\udc00"]}',
    "a reversed pair": b'{"model":"plain","input":"\\udc00\\ud800"}',
    "a lone surrogate as the model": b'{"model":"\\ud800","input":"a"}',
    "nested deep": b'{"model":"plain","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested deep beside": b'{"model":"plain","input":"a","x":' + b'{"a":' * 100_000 + b"1",
    "NaN": b'{"model":"plain","input":[NaN]}',
    "no model": b'{"input":"a"}',
    "no input": b'{"model":"plain"}',
    "UTF-16": '{"model":"plain","input":"a"}'.encode("utf-16"),
    "a control character": b'{"model":"plain","input":"a\nb"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_at_fault(router: RouterUnderTest, body: bytes) -> None:
    """A body that is not a request for embeddings is answered 400, and the router serves on."""
    answer = call(router, "POST", "/v1/embeddings", body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "invalid_input"
    assert embed(router, input="a").status == 200


def test_a_whole_surrogate_pair_is_a_character(router: RouterUnderTest) -> None:
    """An emoji escaped as a pair is served, with the vector of the emoji itself."""
    escaped = call(router, "POST", "/v1/embeddings", b'{"model":"plain","input":"\\ud83d\\uddfc"}')
    assert escaped.json["data"] == embed(router, input="🗼").json["data"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer ew-wrong", "Basic ew-key", "ew-key-of-the-tests",
     "Bearer " + "x" * 10_000, "Bearer clé"],
    ids=["none", "empty", "scheme", "no key", "wrong", "basic", "no scheme", "long", "not ASCII"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/models/plain/infer"])
def test_a_key_at_fault(router: RouterUnderTest, authorization: str | None, path: str) -> None:
    """Without a key that somebody was given the answer is 401, whatever the body holds."""
    headers = {} if authorization is None else {"authorization": authorization}
    answer = call(router, "POST", path, b'{"model":"plain","input":"a"}', headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if path == "/v1/embeddings":
        assert answer.error["code"] == "invalid_api_key"
    assert router.fake("plain-target").calls == []


@pytest.mark.parametrize("spelling", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(router: RouterUnderTest, spelling: str) -> None:
    """The scheme of the key is read in any case, as RFC 9110 has it."""
    key = AUTHORIZATION["authorization"].partition(" ")[2]
    headers = {"authorization": f"{spelling} {key}"}
    assert call(router, "GET", "/v1/models", headers=headers).status == 200


def _pieces(size: int) -> Iterator[bytes]:
    yield b'{"model":"plain","input":"'
    for _ in range(size // 50_000):
        yield b"a" * 50_000
    yield b'"}'


@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/models/plain/infer"])
def test_a_body_over_the_limit(router: RouterUnderTest, is_chunked: bool, path: str) -> None:
    """A body over the limit is answered 413, readably, whether its length was declared or not."""
    pieces = _pieces(3_000_000)
    answer = call(router, "POST", path, pieces if is_chunked else b"".join(pieces))
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    if path == "/v1/embeddings":
        assert answer.error["code"] == "body_too_large"
    assert "1000000 bytes" in answer.body.decode()


def test_a_chunked_body_within_the_limit(router: RouterUnderTest) -> None:
    """A body may come in chunks."""
    answer = call(router, "POST", "/v1/embeddings", iter([b'{"model":"plain",', b'"input":"a"}']))
    assert answer.json["data"] == embed(router, input="a").json["data"]


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/embeddings/", "/v1/engines/plain/embeddings", "/v1/models/",
             "/V1/models", "/v2/models/plain/infer/x", "/v2/repository/index", "/v1/%00",
             "/v1/%ff", "/v1/models/%0a"],
)  # fmt: skip
def test_an_unknown_path(router: RouterUnderTest, path: str) -> None:
    """A path that is not there is answered 404, in the shape of its protocol."""
    answer = call(router, "GET", path)
    assert answer.status == 404
    if path.startswith("/v2"):
        assert set(answer.json) == {"error"}
    else:
        assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/embeddings", "POST"),
        ("DELETE", "/v1/models/plain", "GET"),
        ("POST", "/v1/models", "GET"),
        ("PUT", "/v2/models/plain/infer", "POST"),
        ("POST", "/health/ready", "GET"),
        ("OPTIONS", "/v1/embeddings", "POST"),
    ],
)
def test_a_wrong_method(router: RouterUnderTest, method: str, path: str, allowed: str) -> None:
    """A wrong method is answered 405, and `allow` tells the right one."""
    answer = call(router, method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert allowed in json.dumps(answer.json)
