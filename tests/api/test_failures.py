"""Requests without fault that cannot be served now: what went wrong, and when to ask again."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from router.domain.errors import (
    EmbedwayError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.upstreams.fake import FakeUpstream
from tests.support import upstreams
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import call, embed


def test_a_target_that_is_down(router: RouterUnderTest) -> None:
    """While no target is ready the answer is 503 with Retry-After; other routes serve on."""
    router.fake("plain-target").is_ready = False
    eventually(lambda: not router.app.service.is_route_ready("plain"))
    answer = embed(router, input="a")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert (answer.error["type"], answer.error["code"]) == ("server_error", "upstream_unavailable")
    assert embed(router, model="org/wide", input="a").status == 200


def test_readiness_tells_each_route(router: RouterUnderTest) -> None:
    """The router is ready while one route is; the body tells which, and 503 comes with none."""
    router.fake("plain-target").is_ready = False
    eventually(lambda: not router.app.service.is_route_ready("plain"))
    answer = call(router, "GET", "/health/ready", headers={})
    assert (answer.status, answer.json["status"]) == (200, "ready")
    assert answer.json["routes"] == {"plain": False, "org/wide": True, "small": True}
    assert call(router, "GET", "/v2/models/plain/ready", headers={}).status == 503
    for name in ("wide-target", "small-target"):
        router.fake(name).is_ready = False
    eventually(lambda: not router.app.is_ready())
    answer = call(router, "GET", "/health/ready", headers={})
    assert (answer.status, answer.json["status"]) == (503, "not ready")
    assert answer.headers["retry-after"] == "1"
    assert call(router, "GET", "/v2/health/ready", headers={}).status == 503
    assert call(router, "GET", "/health/live", headers={}).status == 200


def test_a_router_without_targets_still_accepts(router: RouterUnderTest) -> None:
    """With every target down it accepts: clients then get 503 and Retry-After, and nothing 404."""
    for name in ("plain-target", "wide-target", "small-target"):
        router.fake(name).is_ready = False
    eventually(lambda: not router.app.is_ready())
    answer = call(router, "GET", "/health/accepting", headers={})
    assert (answer.status, answer.json["status"]) == (200, "accepting")
    assert (
        embed(router, input="a").status,
        len(call(router, "GET", "/v1/models").json["data"]),
    ) == (
        503,
        3,
    )


def test_a_fresh_router_accepts_once_each_target_was_asked(
    minilm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then a load balancer is told 503: it would refuse what another router could serve."""
    told = threading.Event()

    class Slow(FakeUpstream):
        async def ready(self) -> bool:
            return not await asyncio.to_thread(told.wait)

    monkeypatch.setattr("router.deployments.FakeUpstream", Slow)
    with RouterUnderTest(fake_settings(minilm)) as fresh:
        answer = call(fresh, "GET", "/health/accepting", headers={})
        assert (answer.status, answer.json["status"]) == (503, "starting")
        assert call(fresh, "GET", "/health/live", headers={}).status == 200
        told.set()
        eventually(lambda: call(fresh, "GET", "/health/accepting", headers={}).status == 200)


@pytest.mark.parametrize(
    ("failure", "status", "kind", "code", "retry_after"),
    [
        (UpstreamUnavailableError("m", 7), 503, "server_error", "upstream_unavailable", "7"),
        (UpstreamOverloadedError("m", 3), 429, "rate_limit_error", "upstream_overloaded", "3"),
        (UpstreamRejectedError("m"), 502, "server_error", "upstream_rejected", None),
        (UpstreamError("m"), 502, "server_error", "upstream_error", None),
    ],
    ids=["unavailable", "overloaded", "rejected", "failed"],
)
def test_a_target_that_fails(
    router: RouterUnderTest,
    failure: EmbedwayError,
    status: int,
    kind: str,
    code: str,
    retry_after: str | None,
) -> None:
    """Each failure of a target has its status and code, and Retry-After where waiting helps."""
    router.fake("plain-target").fail_with = failure
    answer = embed(router, input="a")
    assert answer.status == status
    assert (answer.error["type"], answer.error["code"]) == (kind, code)
    assert answer.headers.get("retry-after") == retry_after
    assert router.room("plain-target") == (0, 0)


@pytest.mark.parametrize(
    "broken",
    [
        upstreams.OneTooFew,
        upstreams.OneTooMany,
        upstreams.NotANumber,
        upstreams.Infinite,
        upstreams.NotUnit,
        upstreams.OtherDimension,
    ],
)
@pytest.mark.parametrize("inputs", [["a"], ["a", "b", "c"]], ids=["one", "three"])
def test_a_broken_contract(
    router: RouterUnderTest, broken: type[FakeUpstream], inputs: list[str]
) -> None:
    """Vectors that break the contract never reach a caller: the answer is 502."""
    router.replace("plain-target", broken(384))
    answer = embed(router, input=inputs)
    assert answer.status == 502
    assert (answer.error["type"], answer.error["code"]) == ("server_error", "upstream_contract")


def test_a_defect(router: RouterUnderTest) -> None:
    """An unexpected exception is answered 500 and says nothing; the log has its kind and place."""
    router.replace("plain-target", upstreams.Defective(384, "the inside of things"))
    answer = embed(router, input="a")
    assert answer.status == 500
    assert answer.error["code"] == "internal_error"
    assert "inside" not in answer.body.decode()
    request_id = answer.headers["x-request-id"]
    defect = router.logged("defect", request_id=request_id, error="RuntimeError")
    assert "support/upstreams.py" in defect["at"]
    router.logged("request", request_id=request_id, status=500, error="internal_error")


def test_the_room_is_full(router: RouterUnderTest) -> None:
    """Beyond the requests that a target may have under way the answer is 429 with Retry-After."""
    held = upstreams.Held(384)
    router.replace("small-target", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(embed, router, model="small", input="a")
        try:
            eventually(lambda: router.room("small-target")[0] == 1)
            answer = embed(router, model="small", input="b")
        finally:
            held.go.set()
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert (answer.error["type"], answer.error["code"]) == ("rate_limit_error", "overloaded")
        assert first.result().status == 200
    assert router.room("small-target") == (0, 0)
    assert embed(router, model="small", input="b").status == 200


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/models/plain/infer"])
def test_the_deadline(minilm: object, path: str) -> None:
    """What takes longer than its time is answered 504 at once, and its work is cancelled."""
    bodies = {
        "/v1/embeddings": {"model": "plain", "input": "a"},
        "/v2/models/plain/infer": {
            "inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["a"]}]
        },
    }
    with RouterUnderTest(fake_settings(minilm, request_timeout_s=1)) as router:  # type: ignore[arg-type]
        eventually(lambda: router.app.service.is_route_ready("plain"))
        router.fake("plain-target").delay_s = 30.0
        answer = call(router, "POST", path, json.dumps(bodies[path]).encode())
        assert answer.status == 504
        # Timers count in milliseconds, and may be one early; the target takes thirty seconds.
        assert 998 <= router.logged("request", status=504)["ms"] < 20_000
        if path == "/v1/embeddings":
            assert answer.error["code"] == "deadline_exceeded"
        assert router.room("plain-target") == (0, 0)


def test_a_drained_router_finishes_its_work(minilm: object) -> None:
    """A request under way at shutdown gets its answer; readiness and new requests end at once."""
    router = RouterUnderTest(fake_settings(minilm, drain_timeout_s=30))  # type: ignore[arg-type]
    router.__enter__()
    eventually(lambda: router.app.service.is_route_ready("plain"))
    held = upstreams.Held(384)
    router.replace("plain-target", held)
    results: list[int] = []
    asking = threading.Thread(target=lambda: results.append(embed(router, input="a").status))
    asking.start()
    eventually(lambda: router.under_way == 1)
    stopping = threading.Thread(target=lambda: router.run(router.app.stop()))
    stopping.start()
    router.logged("draining")
    held.go.set()
    stopping.join()
    asking.join()
    router._end()
    assert results == [200]
    assert [line["event"] for line in map(json.loads, router.log.splitlines())][-1] == "stopped"
