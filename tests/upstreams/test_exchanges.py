"""Documented exchanges, replayed: what is sent, word for word, and what becomes of the answer."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from aiohttp import web

from router.domain.clock import SystemClock
from router.domain.errors import UpstreamError
from router.domain.types import TokenBatch
from router.upstreams.provider import Endpoint, ProviderUpstream
from tests.support.providers import DIALECTS, OpenAIDialect, Reports, profile_of

EXCHANGES = yaml.safe_load((Path(__file__).parent / "exchanges.yaml").read_text())


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["name"])
async def test_an_exchange(exchange: dict[str, Any]) -> None:
    """The call is the documented one; its answer gives the vectors or the error that it should."""
    asked: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, orjson.loads(await request.read())))
        return web.json_response(
            exchange["response"], status=exchange["status"], headers=exchange.get("headers")
        )

    app = web.Application()
    app.router.add_post("/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reports, profile = Reports(), profile_of(exchange["profile"], 2)
    port = runner.addresses[0][1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}", "text-embedding-3-large", "key", 2, profile)
    dialect = DIALECTS.get(exchange["profile"], OpenAIDialect)()
    upstream = ProviderUpstream(dialect, endpoint, reports, SystemClock())
    batch = TokenBatch(np.arange(4, dtype="i4"), np.array([2, 2], "i4"), ("first", "second"))
    try:
        if "error" in exchange:
            with pytest.raises(UpstreamError) as caught:
                await upstream.embed(batch, 30)
            assert caught.value.code == exchange["error"]
        else:
            vectors = await upstream.embed(batch, 30)
            np.testing.assert_array_equal(vectors, np.array(exchange["vectors"], np.float32))
            assert reports.bills == [(4, exchange["billed"])]
        assert asked == [(exchange["path"], exchange["request"])]
        assert reports.limits == [tuple(limit) for limit in exchange.get("limits", [])]
    finally:
        await upstream.close()
        await runner.cleanup()
