"""Plain HTTP to a router, down to bytes on a socket: what no client library would send."""

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import KEY

AUTHORIZATION = {"authorization": f"Bearer {KEY}"}
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI error object, whole or a failure."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


def call(
    router: RouterUnderTest,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One exchange; an iterable body is sent in chunks. The key is shown unless headers say so."""
    sent = {"content-type": "application/json"} | dict(
        AUTHORIZATION if headers is None else headers
    )
    with closing(http.client.HTTPConnection(*router.address, timeout=TIMEOUT_S)) as connection:
        is_chunked = body is not None and not isinstance(body, bytes)
        connection.request(method, path, body, sent, encode_chunked=is_chunked)
        return _read(connection.getresponse())


def embed(router: RouterUnderTest, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
    """POST /v1/embeddings; the model is `plain` unless the body says so."""
    content = json.dumps({"model": "plain"} | body).encode()
    return call(router, "POST", "/v1/embeddings", content, headers=AUTHORIZATION | (headers or {}))


def vectors(answer: Answer) -> list[list[float]]:
    assert answer.status == 200, answer.body
    items = answer.json["data"]
    assert [item["index"] for item in items] == list(range(len(items)))
    return [item["embedding"] for item in items]


def request_bytes(body: bytes, *, declared: int | None = None) -> bytes:
    """A whole request for embeddings as it goes over the wire."""
    return (
        b"POST /v1/embeddings HTTP/1.1\r\nhost: router\r\n"
        b"authorization: Bearer " + KEY.encode() + b"\r\n"
        b"content-length: %d\r\n\r\n" % (len(body) if declared is None else declared)
    ) + body


def connect(router: RouterUnderTest) -> socket.socket:
    return socket.create_connection(router.address, timeout=TIMEOUT_S)


def answers(connection: socket.socket, count: int) -> list[Answer]:
    """The next answers on a connection on which requests were pipelined."""
    stream = connection.makefile("rb")
    return [_next_answer(stream) for _ in range(count)]


def _next_answer(stream: Any) -> Answer:
    status = int(stream.readline().split()[1])
    headers = http.client.parse_headers(stream)
    body = stream.read(int(headers["content-length"]))
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)


def _read(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())
