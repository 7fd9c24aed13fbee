"""Whole trees, as a real collector gets them from a router and a real Triton."""

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as tritons

from benchmarks.chaos.local_provider import API_KEY, LocalProvider, reply
from tests.support.collectors import Receiver, Span, SpansLostError, rotel
from tests.support.provider_thread import providers
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.tensors import text_inputs
from tests.support.traced import (
    POOR_KEY,
    PROVIDER_KEY_NAME,
    parent,
    traced_settings,
    traced_triton,
)
from tests.support.triton import SharedTriton
from tests.support.wire import AUTHORIZATION, connect, embed

SERVER = "POST /v1/embeddings"
CLIENT = "embeddings all_minilm_l6_v2"
CLOUD = "embeddings some-model"
TRITONS = {"InferRequest", "all_minilm_l6_v2", "compute"}
PHASES = {"auth", "tokenise", "quota", "cache", "plan"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def collector(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rotel(receiver, tmp_path_factory.mktemp("rotel")) as url:
        yield url


@pytest.fixture(scope="module")
async def told_triton(minilm: Path, collector: str) -> AsyncIterator[SharedTriton]:
    async with traced_triton(minilm, collector) as running:
        yield running


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalProvider]:
    with providers("openai") as (one,):
        yield one


@pytest.fixture(scope="module")
def make_router(
    minilm: Path, told_triton: SharedTriton, provider: LocalProvider, collector: str
) -> Callable[..., RouterUnderTest]:
    def make(**traces: Any) -> RouterUnderTest:
        grpc = told_triton.process.ports.grpc
        settings = traced_settings(minilm, grpc, provider.url, collector, **traces)
        return RouterUnderTest(settings, {PROVIDER_KEY_NAME: API_KEY})

    return make


@pytest.fixture(scope="module")
def router(
    make_router: Callable[..., RouterUnderTest], receiver: Receiver
) -> Iterator[RouterUnderTest]:
    with make_router() as running:
        eventually(lambda: all(map(running.app.fleet.is_up, running.app.fleet.upstreams)))
        _warm_up(running, receiver)
        yield running


def _warm_up(router: RouterUnderTest, receiver: Receiver) -> None:
    """Wait for Triton's exporter, until it has told of three requests one after another."""
    told = 0
    for number in range(0xE0, 0xF8):
        trace_id, _, headers = parent(number)
        assert embed(router, headers, model="minilm", input=f"warm up {number}").status == 200
        try:
            receiver.wait_for(trace_id, *TRITONS, within_s=4.0)
            told += 1
        except SpansLostError:
            told = 0
        if told == 3:
            return
    raise AssertionError("Triton exports no spans")


def once_more(test: Callable[..., None]) -> Callable[..., None]:
    """Triton loses the spans of one of its first requests now and then: those are asked again."""

    @functools.wraps(test)
    def tried(router: RouterUnderTest, receiver: Receiver, **others: Any) -> None:
        async def forgotten() -> None:
            router.app.fleet.memory.forget("local")

        try:
            test(router=router, receiver=receiver, **others)
        except SpansLostError as lost:
            if not lost.missing <= TRITONS:
                raise
            receiver.forget()
            router.run(forgotten())
            test(router=router, receiver=receiver, **others)

    return tried


@pytest.fixture(autouse=True)
def _well(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    request.getfixturevalue("provider").fault = None


def one(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


def shape(spans: list[Span], root: str, depth: int = 0) -> str:
    """The tree below a span, by name and kind; siblings in order of their beginning."""
    lines = []
    for span in sorted(spans, key=lambda span: span.begun_ns):
        if span.parent_id == root:
            lines.append(f"{'  ' * depth}{span.name} {span.kind}\n")
            lines.append(shape(spans, span.span_id, depth + 1))
    return "".join(lines)


def require_nested(spans: list[Span]) -> None:
    """Every span lies within its parent, but for a rounding."""
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        assert span.begun_ns <= span.ended_ns
        above = by_id.get(span.parent_id)
        if above is not None and above.service == span.service == "embedway-router":
            assert above.begun_ns - 1000 <= span.begun_ns
            assert span.ended_ns <= above.ended_ns + 1000


async def fails(provider: LocalProvider, request: Any, body: Any) -> Any:
    del provider, request, body
    return reply({"error": {"message": "down"}}, 503)


@once_more
def test_the_whole_tree_of_a_request(router: RouterUnderTest, receiver: Receiver) -> None:
    """From the caller's span through the router's to Triton's: one trace, nested and in order."""
    trace_id, span_id, headers = parent(0xA1)
    asked = headers | {"tracestate": "vendor=mark", "x-request-id": "whole-tree"}
    answer = embed(router, asked, model="minilm", input=["one text", "another text"])
    assert answer.status == 200
    spans = receiver.wait_for(trace_id, SERVER, CLIENT, *TRITONS)
    assert shape(spans, span_id) == (
        "POST /v1/embeddings SERVER\n"
        "  auth INTERNAL\n"
        "  tokenise INTERNAL\n"
        "  quota INTERNAL\n"
        "  cache INTERNAL\n"
        "  plan INTERNAL\n"
        "  embeddings all_minilm_l6_v2 CLIENT\n"
        "    InferRequest SERVER\n"
        "      all_minilm_l6_v2 SERVER\n"
        "        compute SERVER\n"
    )
    require_nested(spans)
    ours = [span for span in spans if span.service == "embedway-router"]
    assert {span.state for span in ours} == {"vendor=mark"}
    root, client = one(ours, SERVER), one(ours, CLIENT)
    tokens = answer.json["usage"]["prompt_tokens"]
    assert root.attributes == {
        "http.request.method": "POST", "http.route": "/v1/embeddings",
        "url.path": "/v1/embeddings", "url.scheme": "http", "http.response.status_code": 200,
        "embedway.request.id": "whole-tree", "embedway.tenant": "testers",
        "embedway.key": "test-key", "embedway.route": "minilm", "embedway.space": "minilm-space",
        "embedway.target": "local", "embedway.inputs": 2, "gen_ai.usage.input_tokens": tokens,
        "embedway.cost_nano_usd": tokens * 2000, "embedway.outcome": "ok",
        "embedway.attempts": 1, "embedway.trace.kept": "parent",
    }  # fmt: skip
    assert client.attributes == {
        "gen_ai.operation.name": "embeddings", "gen_ai.provider.name": "triton",
        "gen_ai.request.model": "all_minilm_l6_v2", "gen_ai.response.model": "all_minilm_l6_v2",
        "gen_ai.request.encoding_formats": ["float"], "gen_ai.usage.input_tokens": tokens,
        "gen_ai.embeddings.dimension.count": 384, "server.address": "127.0.0.1",
        "server.port": client.attributes["server.port"], "embedway.target": "local",
        "embedway.space": "minilm-space", "embedway.inputs": 2, "embedway.outcome": "ok",
        "embedway.attempt.reason": "first",
    }  # fmt: skip
    assert one(ours, "cache").attributes == {
        "embedway.cache.inputs": 2,
        "embedway.cache.misses": 2,
    }
    assert one(ours, "plan").attributes == {
        "embedway.plan.rule": "default",
        "embedway.plan.target": "local",
        "embedway.plan.reason": "number 1 in the route's order",
    }
    assert not any(span.is_error for span in spans)


@once_more
def test_a_fallback_is_a_sibling(
    router: RouterUnderTest, receiver: Receiver, provider: LocalProvider
) -> None:
    """The call that failed and the one after it stand side by side, and only the second in Triton.

    The provider hears of no trace.
    """
    provider.fault = fails
    trace_id, span_id, headers = parent(0xA2)
    assert embed(router, headers, model="fallback", input="falls back").status == 200
    spans = receiver.wait_for(trace_id, SERVER, CLOUD, CLIENT, *TRITONS)
    require_nested(spans)
    root, failed, second = one(spans, SERVER), one(spans, CLOUD), one(spans, CLIENT)
    assert root.parent_id == span_id
    assert failed.parent_id == second.parent_id == root.span_id
    assert failed.ended_ns <= second.begun_ns
    assert failed.is_error
    assert failed.attributes["error.type"] == "upstream_unavailable"
    assert failed.attributes["gen_ai.provider.name"] == "openai"
    assert second.attributes["embedway.attempt.reason"] == "fallback"
    assert one(spans, "InferRequest").parent_id == second.span_id
    assert root.attributes["embedway.attempts"] == 2
    assert root.attributes["embedway.target"] == "local"
    assert "traceparent" not in {name.lower() for name in provider.headers[-1]}


def test_a_refusal_is_kept_whatever_chance_says(
    router: RouterUnderTest, receiver: Receiver
) -> None:
    """A tenant without budget: no target is asked, and the quota that refused is named."""
    trace_id, span_id, headers = parent(0xA3, sampled=False)
    answer = embed(router, headers | {"authorization": f"Bearer {POOR_KEY}"},
                   model="minilm", input="refused")  # fmt: skip
    assert answer.status == 402
    spans = receiver.wait_for(trace_id, SERVER, "quota")
    assert shape(spans, span_id) == (
        "POST /v1/embeddings SERVER\n  auth INTERNAL\n  tokenise INTERNAL\n  quota INTERNAL\n"
    )
    root, quota = one(spans, SERVER), one(spans, "quota")
    assert root.attributes["embedway.outcome"] == "budget_exhausted"
    assert root.attributes["error.type"] == "budget_exhausted"
    assert root.attributes["http.response.status_code"] == 402
    assert root.attributes["embedway.tenant"] == "poor"
    assert root.attributes["embedway.trace.kept"] == "refused"
    assert not root.is_error
    assert quota.attributes["embedway.quota.refused_by"] == "tenant:poor:requests:total:hard"
    assert quota.attributes["error.type"] == "budget_exhausted"


def test_a_cached_request_asks_nobody(router: RouterUnderTest, receiver: Receiver) -> None:
    """What is remembered ends at the cache: no plan, no call, no cost."""
    assert embed(router, model="minilm", input="said twice").status == 200
    trace_id, span_id, headers = parent(0xA4)
    again = embed(router, headers, model="minilm", input="said twice")
    spans = receiver.wait_for(trace_id, SERVER, "cache")
    assert shape(spans, span_id) == (
        "POST /v1/embeddings SERVER\n"
        "  auth INTERNAL\n"
        "  tokenise INTERNAL\n"
        "  quota INTERNAL\n"
        "  cache INTERNAL\n"
    )
    said = one(spans, SERVER).attributes
    assert said["embedway.target"] == "cache"
    assert said["embedway.cached_tokens"] == again.json["usage"]["prompt_tokens"]
    assert (said["embedway.cost_nano_usd"], said["embedway.attempts"]) == (0, 0)
    assert one(spans, "cache").attributes["embedway.cache.misses"] == 0


def _together(router: RouterUnderTest, first: int, count: int) -> None:
    """So many requests, each of a trace of its own, written before the first answer is read."""
    connections = [connect(router) for _ in range(count)]
    for connection in connections:
        # So that each is accepted before the requests come.
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: t\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    contents = []
    for place in range(count):
        _, _, headers = parent(first + place)
        body = json.dumps({"model": "minilm", "input": f"together {first + place}"}).encode()
        lines = {"host": "t", "content-length": str(len(body))} | AUTHORIZATION | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        contents.append(f"POST /v1/embeddings HTTP/1.1\r\n{head}\r\n".encode() + body)
    # Ours are all there before the loop may look at any.
    release = threading.Event()
    router._loop.call_soon_threadsafe(release.wait, 30)
    for connection, content in zip(connections, contents, strict=True):
        connection.sendall(content)
    release.set()
    for connection in connections:
        with closing(connection):
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


@once_more
def test_a_shared_call_is_linked_to_all_its_requests(
    router: RouterUnderTest, receiver: Receiver
) -> None:
    """Requests that shared one call link to it and it to them; Triton's spans lie below it."""
    trees: dict[str, list[Span]] = {}
    batches: list[Span] = []
    # On a busy machine a turn of the loop may see one of them alone.
    for first in range(0xB000, 0xB060, 0x10):
        _together(router, first, 6)
        ids = [parent(first + place)[0] for place in range(6)]
        trees = {trace_id: receiver.wait_for(trace_id, SERVER, CLIENT) for trace_id in ids}
        spans = [span for tree in trees.values() for span in tree]
        batches = [span for span in spans if span.name == CLIENT and len(span.links) > 1]
        if batches:
            break
    assert batches, "no call was shared"
    batch = max(batches, key=lambda span: len(span.links))
    lead = receiver.wait_for(batch.trace_id, *TRITONS)
    assert one(lead, "InferRequest").parent_id == batch.span_id
    assert batch.attributes["embedway.batch.requests"] == len(batch.links)
    assert batch.attributes["embedway.inputs"] == len(batch.links)
    for trace_id, span_id in batch.links:
        call = next(span for span in trees[trace_id] if span.span_id == span_id)
        assert call.kind == "CLIENT"
        assert call.links == ((batch.trace_id, batch.span_id),)
        assert call.attributes["embedway.batch.requests"] == len(batch.links)
        root = one(trees[trace_id], SERVER)
        assert call.parent_id == root.span_id
    (above,) = [span for span in lead if span.span_id == batch.parent_id]
    assert (above.trace_id, above.span_id) in batch.links
    followers = {trace_id for trace_id, _ in batch.links} - {batch.trace_id}
    for trace_id in followers:
        assert TRITONS.isdisjoint({span.name for span in receiver.trace(trace_id)})


@once_more
def test_grpc_is_traced_alike(router: RouterUnderTest, receiver: Receiver) -> None:
    """The KServe door begins the same tree, named as RPC's conventions say."""
    trace_id, span_id, headers = parent(0xA5)
    with closing(tritons.InferenceServerClient(router.grpc_host)) as client:
        client.infer("minilm", text_inputs(tritons, ["over gRPC"], (1,)),
                     headers=AUTHORIZATION | headers)  # fmt: skip
    root_name = "inference.GRPCInferenceService/ModelInfer"
    spans = receiver.wait_for(trace_id, root_name, CLIENT, *TRITONS)
    root = one(spans, root_name)
    assert root.parent_id == span_id
    assert {span.name for span in spans if span.parent_id == root.span_id} == PHASES | {CLIENT}
    assert root.attributes["rpc.system.name"] == "grpc"
    assert root.attributes["rpc.method"] == root_name
    assert root.attributes["rpc.response.status_code"] == "OK"
    assert root.attributes["embedway.target"] == "local"
    line = router.logged("request", method="ModelInfer", trace_id=trace_id)
    assert line["span_id"] == root.span_id
    assert len(line["request_id"]) == 32


@once_more
def test_an_unsampled_request_leaves_no_trace_anywhere(
    router: RouterUnderTest, receiver: Receiver
) -> None:
    """A caller that does not sample is believed, by the router and by Triton behind it."""
    trace_id, _, headers = parent(0xA6, sampled=False)
    assert embed(router, headers, model="minilm", input="not sampled").status == 200
    later, _, sampled = parent(0xA7)
    assert embed(router, sampled, model="minilm", input="sampled after it").status == 200
    receiver.wait_for(later, SERVER, CLIENT, *TRITONS)
    assert receiver.trace(trace_id) == []


async def test_what_the_router_decides_late_has_no_spans_of_triton(
    make_router: Callable[..., RouterUnderTest], receiver: Receiver
) -> None:
    """A slow request is kept by the router alone: its target was called before it was slow."""
    trace_id, _, headers = parent(0xA8, sampled=False)
    with make_router(slow_ms=0.001) as slow:
        eventually(lambda: all(map(slow.app.fleet.is_up, slow.app.fleet.upstreams)))
        answer = await asyncio.to_thread(embed, slow, headers, model="minilm", input="slow")
    assert answer.status == 200
    spans = receiver.wait_for(trace_id, SERVER, CLIENT)
    assert one(spans, SERVER).attributes["embedway.trace.kept"] == "slow"
    assert {span.service for span in spans} == {"embedway-router"}


def test_providers_are_told_where_that_is_configured(
    make_router: Callable[..., RouterUnderTest], receiver: Receiver, provider: LocalProvider
) -> None:
    """With `propagate_to_providers` the call carries its own span, and the vendors' marks."""
    trace_id, _, headers = parent(0xA9)
    with make_router(propagate_to_providers=True, conventions="1.36") as open_router:
        marks = headers | {"tracestate": "a=1,b=2"}
        assert embed(open_router, marks, model="provider", input="away").status == 200
    (client,) = [s for s in receiver.wait_for(trace_id, SERVER, CLOUD) if s.name == CLOUD]
    told = {name.lower(): value for name, value in provider.headers[-1].items()}
    assert told["traceparent"] == f"00-{trace_id}-{client.span_id}-01"
    assert told["tracestate"] == "a=1,b=2"
    assert client.attributes["gen_ai.system"] == "openai"
    assert "gen_ai.provider.name" not in client.attributes


def test_ledger_and_log_name_the_trace(router: RouterUnderTest, receiver: Receiver) -> None:
    """One line a request has the ids of its span, who paid what, and where its time went."""
    answer = embed(router, model="minilm", input="without a parent")
    request_id = answer.headers["x-request-id"]
    line = router.logged("request", request_id=request_id)
    assert [one["request_id"] for one in router.events("request")].count(request_id) == 1
    assert len(line["trace_id"]) == 32
    assert (line["tenant"], line["route"], line["target"]) == ("testers", "minilm", "local")
    assert line["cost_usd"] == pytest.approx(line["tokens"] * 2e-6)
    parts = ("auth_ms", "tokenise_ms", "quota_ms", "cache_ms", "plan_ms", "targets_ms")
    assert sum(line[name] for name in parts) <= line["ms"] + 0.1
    assert receiver.trace(line["trace_id"]) == []


def test_many_requests_at_once_keep_their_trees_apart(
    router: RouterUnderTest, receiver: Receiver
) -> None:
    """Under load every trace has one server span and one call of its own, whoever shared it."""
    numbers = range(0xC000, 0xC020)

    def ask(number: int) -> int:
        return embed(router, parent(number)[2], model="minilm", input=f"load {number}").status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, numbers)) == {200}
    for number in numbers:
        trace_id, span_id, _ = parent(number)
        spans = receiver.wait_for(trace_id, SERVER, CLIENT)
        root = one(spans, SERVER)
        assert root.parent_id == span_id
        calls = [span for span in spans if span.name == CLIENT and span.parent_id == root.span_id]
        assert len(calls) == 1
