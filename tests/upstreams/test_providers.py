"""Each provider as its documentation has it, and each way in which it may fail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime

import numpy as np
import pytest
from aiohttp import web

from benchmarks.chaos import faults
from benchmarks.chaos.local_provider import LocalProvider, reply, text_vector
from benchmarks.chaos.manners import MANNERS
from router.config.profiles import ProfileSettings, RateLimitHeaders
from router.domain.errors import (
    DeadlineExceededError,
    EmbedwayError,
    UpstreamContractError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from router.domain.types import TokenBatch
from router.upstreams.http_headers import duration_s, exhausted, retry_after_s
from router.vectors.checks import require_contract
from tests.support.providers import Reports, upstream_of

DIMENSIONS = 16


def batch(*texts: str, input_type: str | None = None) -> TokenBatch:
    lengths = [len(text) + 1 for text in texts]
    return TokenBatch(
        np.arange(sum(lengths), dtype=np.int32),
        np.array(lengths, np.int32),
        texts,
        input_type,
    )


@contextlib.asynccontextmanager
async def provider_of(kind: str) -> AsyncIterator[LocalProvider]:
    async with LocalProvider(kind, DIMENSIONS) as provider:
        yield provider


@pytest.mark.parametrize("kind", MANNERS)
async def test_every_profile_pleases_its_provider(kind: str) -> None:
    """The largest call that is allowed is answered, each text with its own vector."""
    async with provider_of(kind) as provider:
        upstream = upstream_of(provider, kind)
        texts = [f"text {number}" for number in range(min(provider.manners.max_inputs, 300))]
        vectors = await upstream.embed(batch(*texts), 20)
        await upstream.close()
    require_contract(vectors, len(texts), DIMENSIONS)
    expected = np.stack([text_vector(text, DIMENSIONS) for text in texts])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("kind", MANNERS)
async def test_nothing_is_sent_that_the_provider_refuses(kind: str) -> None:
    """No null, no unknown field, and the key only in its header."""
    async with provider_of(kind) as provider:
        upstream = upstream_of(provider, kind)
        await upstream.embed(batch("a", "b", input_type=_type_of(kind)), 20)
        await upstream.close()
        (body,) = provider.bodies
        assert set(body) <= provider.manners.fields
        assert None not in body.values()
        assert "provider-key" not in str(body)
        assert provider.headers[0]["Authorization"].startswith("Bearer provider-key")


def _type_of(kind: str) -> str | None:
    return {"cohere": "search_query", "voyage": "query", "openrouter": "query"}.get(kind)


async def test_cohere_is_told_the_input_type() -> None:
    """It must be there: document where the space says nothing else."""
    async with provider_of("cohere") as provider:
        upstream = upstream_of(provider, "cohere")
        await upstream.embed(batch("a"), 30)
        await upstream.embed(batch("a", input_type="search_query"), 30)
        await upstream.close()
        assert [body["input_type"] for body in provider.bodies] == [
            "search_document",
            "search_query",
        ]


async def test_voyage_is_told_not_to_truncate() -> None:
    """By default it would cut what is too long, in silence."""
    async with provider_of("voyage") as provider:
        upstream = upstream_of(provider, "voyage")
        await upstream.embed(batch("a"), 30)
        await upstream.close()
        assert provider.bodies[0]["truncation"] is False


async def test_fireworks_is_normalised_here() -> None:
    """Its vectors come as the model gives them; ours are of unit length."""
    async with provider_of("fireworks") as provider:
        upstream = upstream_of(provider, "fireworks")
        assert np.linalg.norm(provider.vector("a")) > 7
        vectors = await upstream.embed(batch("a"), 30)
        await upstream.close()
    assert np.linalg.norm(vectors) == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "bill"),
    [
        pytest.param("openai", 3, id="prompt_tokens"),
        pytest.param("voyage", 3, id="total_tokens"),
        pytest.param("cohere", 3, id="billed_units"),
        pytest.param("together", 2, id="none: counted here"),
    ],
)
async def test_the_bill_is_read_where_the_provider_writes_it(kind: str, bill: int) -> None:
    """Without a usage in the answer the router's own count stands: nothing is ever free."""
    async with provider_of(kind) as provider:
        reports = Reports()
        upstream = upstream_of(provider, kind, reports=reports)
        await upstream.embed(batch("a"), 30)
        await upstream.close()
    assert reports.bills == [(2, bill)]


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        pytest.param("openai", [(2999, 0.02), (999990, 360.0)], id="requests and tokens"),
        pytest.param("together", [(49, 1.0)], id="one for all"),
        pytest.param("qwen", [], id="none"),
    ],
)
async def test_rate_limit_headers_are_told_on(kind: str, limits: list[tuple[int, float]]) -> None:
    """What is left, and when it is renewed, in the names that the provider uses."""
    async with provider_of(kind) as provider:
        reports = Reports()
        upstream = upstream_of(provider, kind, reports=reports)
        await upstream.embed(batch("a"), 30)
        await upstream.close()
    assert reports.limits == limits


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, UpstreamRejectedError),
        (401, UpstreamUnavailableError),
        (402, UpstreamUnavailableError),
        (404, UpstreamUnavailableError),
        (408, UpstreamUnavailableError),
        (413, UpstreamRejectedError),
        (422, UpstreamRejectedError),
        (429, UpstreamOverloadedError),
        (500, UpstreamError),
        (502, UpstreamUnavailableError),
        (503, UpstreamUnavailableError),
        (524, UpstreamUnavailableError),
        (529, UpstreamOverloadedError),
        (302, UpstreamError),
    ],
)
async def test_every_status_has_its_error(status: int, kind: type[EmbedwayError]) -> None:
    """And what the provider wrote stays inside: it may repeat the input."""

    async def fault(*_: object) -> web.Response:
        return reply({"error": {"message": "private words"}}, status, {"location": "http://x/"})

    async with provider_of("openai") as provider:
        provider.fault = fault  # type: ignore[assignment]
        upstream = upstream_of(provider, "openai")
        with pytest.raises(EmbedwayError) as caught:
            await upstream.embed(batch("private words"), 30)
        await upstream.close()
    assert type(caught.value) is kind
    assert "private" not in str(caught.value)


async def test_a_wrong_key_makes_the_target_rest() -> None:
    """It is not asked again in a second, and the key is in no message."""
    async with provider_of("openai") as provider:
        upstream = upstream_of(provider, "openai", api_key="wrong-key")
        with pytest.raises(UpstreamUnavailableError) as caught:
            await upstream.embed(batch("a"), 30)
        await upstream.close()
    assert caught.value.retry_after_s == 60
    assert "wrong-key" not in str(caught.value) + repr(upstream._endpoint)


async def test_no_credit_is_not_a_busy_moment() -> None:
    """OpenAI says both with 429; only the code tells them apart."""
    async with provider_of("openai") as provider:
        upstream = upstream_of(provider, "openai")
        provider.fault = faults.out_of_credit
        with pytest.raises(UpstreamUnavailableError) as caught:
            await upstream.embed(batch("a"), 30)
        assert caught.value.retry_after_s == 60
        provider.fault = faults.rate_limited
        with pytest.raises(UpstreamOverloadedError):
            await upstream.embed(batch("a"), 30)
        await upstream.close()


BROKEN = [name for name in faults.FAULTS if name not in ("order reversed", "another model")]
NOT_SEEN_HERE = ("one vector for all", "rows shifted")


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in NOT_SEEN_HERE])
@pytest.mark.parametrize("kind", ["openai", "together"])
async def test_a_broken_answer_is_an_error(name: str, kind: str) -> None:
    """No fault passes as vectors, in base64 or in floats."""
    async with provider_of(kind) as provider:
        provider.fault = faults.FAULTS[name]
        upstream = upstream_of(provider, kind)
        with pytest.raises((UpstreamError, DeadlineExceededError)):
            require_contract(await upstream.embed(batch("a", "b", "c"), 0.5), 3, DIMENSIONS)
        await upstream.close()


@pytest.mark.parametrize("kind", ["openai", "together"])
async def test_the_order_is_that_of_the_index(kind: str) -> None:
    """However the items stand in the answer."""
    async with provider_of(kind) as provider:
        provider.fault = faults.FAULTS["order reversed"]
        upstream = upstream_of(provider, kind)
        vectors = await upstream.embed(batch("a", "b", "c"), 30)
        await upstream.close()
    for row, text in zip(vectors, "abc", strict=True):
        np.testing.assert_allclose(row, text_vector(text, DIMENSIONS), atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"{}", b'{"data":null}', b'{"data":{}}', b'{"data":[null]}',
        b'{"data":[{}]}', b'{"data":[{"index":1,"embedding":[1]}]}',
        b'{"data":[{"index":"0","embedding":[1]}]}', b'{"data":[{"index":0,"embedding":["x"]}]}',
        b'{"data":[{"index":0,"embedding":"!!!"}]}', b'{"data":[{"index":0,"embedding":"AAA="}]}',
        b'{"data":[{"index":0,"embedding":[NaN]}]}', b'{"data":[{"index":0,"embedding":[]}]}',
        b'{"data":[{"index":0,"embedding":[1e300]}]}', b"\xff\xfe", b"<html>gateway</html>",
    ],
)  # fmt: skip
async def test_garbage_is_a_broken_contract(content: bytes) -> None:
    """Whatever comes with status 200, it is vectors or an error of the domain."""

    async def fault(*_: object) -> web.Response:
        return web.Response(body=content, content_type="application/json")

    async with provider_of("qwen") as provider:
        provider.fault = fault  # type: ignore[assignment]
        upstream = upstream_of(provider, "qwen")
        with pytest.raises(UpstreamContractError):
            require_contract(await upstream.embed(batch("a"), 5), 1, DIMENSIONS)
        await upstream.close()


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    """More bytes than the vectors can take are refused while they come."""

    async def fault(
        provider: LocalProvider, request: web.Request, *_: object
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * 65536)
        return response

    async with provider_of("qwen") as provider:
        provider.fault = fault  # type: ignore[assignment]
        upstream = upstream_of(provider, "qwen")
        with pytest.raises(UpstreamContractError, match="larger"):
            await upstream.embed(batch("a"), 20)
        await upstream.close()


async def test_ids_without_a_text_are_refused() -> None:
    """A provider tokenises by itself: no text, no call."""
    async with provider_of("qwen") as provider:
        upstream = upstream_of(provider, "qwen")
        ids = TokenBatch(np.array([1, 2], np.int32), np.array([2], np.int32))
        with pytest.raises(UpstreamRejectedError):
            await upstream.embed(ids, 30)
        await upstream.close()
        assert provider.calls == 0


async def test_closing_ends_calls_under_way() -> None:
    """They end at once, in the domain's words."""
    async with provider_of("qwen") as provider:
        provider.fault = faults.hang
        upstream = upstream_of(provider, "qwen")
        call = asyncio.create_task(upstream.embed(batch("a"), 30))
        async with asyncio.timeout(30):
            while provider.calls == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await upstream.close()
        with pytest.raises(UpstreamUnavailableError):
            await call


async def test_a_profile_of_the_configuration_is_enough() -> None:
    """A provider that nobody has heard of: a few lines of data, no code."""
    own = ProfileSettings(encoding_format="base64", usage="usage.total_tokens", max_inputs=7)
    async with provider_of("qwen") as provider:
        upstream = upstream_of(provider, "qwen", profile=own)
        vectors = await upstream.embed(batch("a"), 30)
        await upstream.close()
        assert provider.bodies[0]["encoding_format"] == "base64"
    np.testing.assert_allclose(vectors[0], text_vector("a", DIMENSIONS), atol=1e-6)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), ("1.5", 1.5), ("20ms", 0.02), ("6m0s", 360.0), ("1h2m3s", 3723.0), ("", None),
        ("soon", None), ("-1", None), ("nan", None), ("inf", None), ("1s later", None),
    ],
)  # fmt: skip
def test_durations(value: str, seconds: float | None) -> None:
    """Every notation that providers use, and nothing else."""
    assert duration_s(value) == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_may_be_a_date() -> None:
    """Seconds from now, never negative, and bounded."""
    now_s = 1_700_000_000.0

    def at(moment_s: float) -> str:
        return format_datetime(datetime.fromtimestamp(moment_s, UTC), usegmt=True)

    assert retry_after_s({"retry-after": at(now_s + 30)}, now_s) == 30
    assert retry_after_s({"retry-after": at(now_s - 30)}, now_s) == 0
    assert retry_after_s({"retry-after": at(now_s + 1e6)}, now_s) == 3600
    assert retry_after_s({"retry-after": "whenever"}, now_s) is None
    assert retry_after_s({}, now_s) is None


def test_a_limit_without_its_time_is_left_out() -> None:
    """A count alone does not say until when."""
    names = RateLimitHeaders(remaining_requests="left", reset_requests="reset")
    assert exhausted({"left": "0"}, names) == []
    assert exhausted({"left": "0", "reset": "2s"}, names) == [(0, 2.0)]
