"""HTTP as it comes from the network: in pieces, in heaps, broken off, and left behind."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import AUTHORIZATION, answers, call, connect, embed, request_bytes

BODY = b'{"model":"plain","input":"hello"}'


def statuses(router: RouterUnderTest) -> list[int]:
    return [line["status"] for line in router.events("request")]


@pytest.mark.parametrize("given", ["abc-123", "A.b:c_d-9", "x" * 128])
def test_a_request_id_is_kept(router: RouterUnderTest, given: str) -> None:
    """A well-formed x-request-id comes back and stands in the log."""
    answer = embed(router, {"x-request-id": given}, input="a")
    assert answer.headers["x-request-id"] == given
    router.logged("request", request_id=given, status=200)


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "a,b", "é"])
def test_a_request_id_is_made(router: RouterUnderTest, given: str | None) -> None:
    """Without a well-formed x-request-id one is made, another each time, errors included."""
    headers = {} if given is None else {"x-request-id": given}
    made = [
        answer.headers["x-request-id"]
        for answer in (
            embed(router, headers, input="a"),
            embed(router, headers, input=""),
            call(router, "GET", "/nowhere", headers=AUTHORIZATION | headers),
        )
    ]
    assert len({*made}) == 3
    assert given not in made
    router.logged("request", request_id=made[-1], status=404)


def test_pipelined_requests(router: RouterUnderTest) -> None:
    """Requests sent at once on one connection are answered in their order, good and bad."""
    bodies = [b'{"model":"plain","input":"%d"}' % number for number in range(20)]
    bodies[7] = b"not JSON"
    with connect(router) as connection:
        connection.sendall(b"".join(map(request_bytes, bodies)))
        got = answers(connection, 20)
    assert [answer.status for answer in got] == [200] * 7 + [400] + [200] * 12
    alone = embed(router, input="13").json["data"]
    assert got[13].json["data"] == alone
    assert len({answer.body for answer in got}) == 20


def test_a_byte_at_a_time(router: RouterUnderTest) -> None:
    """A request that comes byte by byte is served like any other."""
    with connect(router) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request_bytes(BODY):
            connection.sendall(bytes([byte]))
        assert answers(connection, 1)[0].status == 200


def test_one_connection_serves_many_requests(router: RouterUnderTest) -> None:
    """The connection stays open after an answer, an error's included."""
    with connect(router) as connection:
        for body, status in ((BODY, 200), (b"{", 400), (BODY, 200)):
            connection.sendall(request_bytes(body))
            assert answers(connection, 1)[0].status == status


def test_a_client_that_leaves_within_its_body(router: RouterUnderTest) -> None:
    """A connection that ends before its body does is logged as 499, and nothing is asked."""
    with connect(router) as connection:
        connection.sendall(request_bytes(b'{"model":', declared=1000))
        eventually(lambda: router.under_way == 1)
    eventually(lambda: router.under_way == 0)
    eventually(lambda: statuses(router)[-1:] == [499])
    assert router.fake("plain-target").calls == []


@pytest.mark.parametrize("is_abrupt", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/models/plain/infer"])
def test_a_client_that_leaves_within_the_work(
    router: RouterUnderTest, path: str, is_abrupt: bool
) -> None:
    """A connection that ends while the target works cancels the target's work; 499 in the log."""
    fake = router.fake("plain-target")
    fake.delay_s, before = 30.0, fake.cancelled
    body = BODY
    if path != "/v1/embeddings":
        body = b'{"inputs":[{"name":"TEXT","datatype":"BYTES","shape":[1],"data":["a"]}]}'
    with connect(router) as connection:
        connection.sendall(request_bytes(body).replace(b"/v1/embeddings", path.encode()))
        eventually(lambda: len(fake.calls) == 1)
        if is_abrupt:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    eventually(lambda: fake.cancelled == before + 1)
    eventually(lambda: router.under_way == 0)
    assert router.room("plain-target") == (0, 0)
    eventually(lambda: statuses(router)[-1:] == [499])


def test_a_client_that_leaves_while_answers_wait(
    router: RouterUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that reads nothing and leaves is 499 in our log, and stands in no other."""
    body = json.dumps({"model": "plain", "input": ["a"] * 2048}).encode()
    count = len(statuses(router))
    with connect(router) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request_bytes(body) * 4)
        eventually(lambda: len(router.fake("plain-target").calls) >= 2)
        time.sleep(0.3)
        eventually(lambda: router.under_way == 1)
    eventually(lambda: router.under_way == 0)
    eventually(lambda: 499 in statuses(router)[count:])
    assert caplog.records == []


def test_many_clients_that_leave(router: RouterUnderTest) -> None:
    """A hundred clients that leave at once leave nothing behind."""
    fake = router.fake("plain-target")
    fake.delay_s, before = 30.0, fake.cancelled
    connections = [connect(router) for _ in range(100)]
    for connection in connections:
        connection.sendall(request_bytes(BODY))
    eventually(lambda: len(fake.calls) == 100)
    for connection in connections:
        connection.close()
    eventually(lambda: fake.cancelled == before + 100)
    eventually(lambda: router.under_way == 0)
    assert router.room("plain-target") == (0, 0)
    fake.delay_s = 0.0
    assert embed(router, input="a").status == 200


def test_a_client_that_stays_is_not_taken_for_gone(router: RouterUnderTest) -> None:
    """A client that sends its next request while the first is worked on gets both answers."""
    router.fake("plain-target").delay_s = 0.2
    with connect(router) as connection:
        connection.sendall(request_bytes(BODY))
        time.sleep(0.05)
        connection.sendall(request_bytes(BODY))
        assert [answer.status for answer in answers(connection, 2)] == [200, 200]


def test_a_body_that_never_ends(minilm: object) -> None:
    """A body that does not come in time is answered 408 and let go, and no failure of ours."""
    with (
        RouterUnderTest(fake_settings(minilm, request_timeout_s=2)) as router,  # type: ignore[arg-type]
        connect(router) as connection,
    ):
        connection.sendall(request_bytes(b'{"model":', declared=1000))
        answer = answers(connection, 1)[0]
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"
        assert connection.recv(1) == b""
        # It is counted after the connection is closed.
        eventually(lambda: router.under_way == 0)
        ended = b'embedway_requests_total{outcome="%b"} 1'
        eventually(lambda: ended % b"request_timeout" in call(router, "GET", "/metrics").body)
        assert ended % b"deadline_exceeded" not in call(router, "GET", "/metrics").body


GARBAGE = {
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a negative length": b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "a length of letters": b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
    "a huge length": b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: "
    + b"9" * 5000
    + b"\r\n\r\n",
    "length and chunks": b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
    b"authorization: " + AUTHORIZATION["authorization"].encode() + b"\r\n\r\nzz\r\n\r\n",
    "a path that is not ASCII": b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage(router: RouterUnderTest, garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What is not HTTP is refused or cut off, fills no log, and others are served on."""
    with connect(router) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        reply = b""
        while piece := connection.recv(65536):
            reply += piece
    assert reply == b"" or reply.split()[1] in (b"400", b"401", b"404")
    eventually(lambda: router.under_way == 0)
    assert caplog.records == []
    assert embed(router, input="a").status == 200


def test_a_large_answer(router: RouterUnderTest) -> None:
    """The largest request there may be is answered whole, float for float."""
    answer = embed(router, input=[f"text {number}" for number in range(2048)])
    assert len(answer.json["data"]) == 2048
    assert len(answer.body) == int(answer.headers["content-length"])


def test_concurrent_clients_get_their_own(router: RouterUnderTest) -> None:
    """Sixteen clients at once each get the vectors of their own texts."""
    texts = [f"text {number}" for number in range(64)]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda text: embed(router, input=text).json["data"], texts))
    whole = embed(router, input=texts).json["data"]
    assert [one[0]["embedding"] for one in got] == [item["embedding"] for item in whole]
