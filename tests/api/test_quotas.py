"""Quotas over every door: what is refused, how it is told, and what the ledger keeps."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from openai import APIStatusError, OpenAI, RateLimitError
from sqlalchemy import select
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from router.config.settings import Settings
from router.domain.errors import UpstreamError
from router.store.tables import quota_windows
from tests.support.clocks import past_noon
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.tenants import declared, key, records, shown
from tests.support.wire import Answer, call, embed

TEXT = "harbour"  # three tokens with the special ones
TOKENS = 3
COST = TOKENS * 20  # nano-USD, at 0.02 USD a million
ENDLESS_S = 400 * 86_400


def settings_of(minilm: Path, folder: Path) -> str:
    """A tenant for each test, so that none spends another's quota."""
    parsed = yaml.safe_load(fake_settings(minilm))
    parsed["targets"]["plain-target"]["price_usd_per_million_tokens"] = 0.02
    cheap = parsed["targets"]["plain-target"] | {"price_usd_per_million_tokens": 0.002}
    parsed["targets"]["cheap-target"] = cheap
    parsed["routes"]["two"] = {"targets": ["plain-target", "cheap-target"]}
    parsed["store"] = {"url": f"sqlite:///{folder}/embedway.db", "state": str(folder / "state")}
    quotas: dict[str, list[dict[str, Any]]] = {
        "budget": [{"unit": "usd", "limit": 0.00000015, "window": "total"}],
        "rate": [{"unit": "requests", "limit": 2, "window": "day"}],
        "both": [
            {"unit": "tokens", "limit": 7, "window": "day"},
            {"unit": "requests", "limit": 100, "window": "hour"},
        ],
        "soft": [{"unit": "tokens", "limit": 4, "window": "total", "mode": "soft"}],
        "shadow": [{"unit": "requests", "limit": 0, "window": "total", "mode": "shadow"}],
        "unpriced": [{"unit": "usd", "limit": 10, "window": "month"}],
        "refunded": [{"unit": "tokens", "limit": 6, "window": "total"}],
        "doors": [{"unit": "requests", "limit": 0, "window": "day"}],
        "ledger": [],
        "thrifty": [{"unit": "usd", "limit": 0.0000006, "window": "total"}],
        "limitless": [],
    }
    parsed["tenants"] |= declared(quotas)
    return yaml.safe_dump(parsed)


@pytest.fixture(scope="module")
def metered(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterUnderTest]:
    """A router with quotas, its database an SQLite file."""
    settings = settings_of(minilm, tmp_path_factory.mktemp("metered"))
    with RouterUnderTest(settings, clock=past_noon()) as router:
        yield router.up()


def ask(router: RouterUnderTest, tenant: str, **body: Any) -> Answer:
    return embed(router, headers=shown(tenant), **{"input": TEXT} | body)


def test_a_budget_is_spent_to_the_last_request_that_fits(metered: RouterUnderTest) -> None:
    """150 nano-USD cover two requests of 60; the third is refused with 402 and all figures."""
    for _ in range(2):
        answer = ask(metered, "budget")
        assert answer.status == 200
        assert answer.headers["x-embedway-cost-usd"] == "0.00000006"
    refused = ask(metered, "budget")
    assert refused.status == 402
    error = refused.json["error"]
    assert error["code"] == "budget_exhausted"
    assert error["type"] == "insufficient_quota"
    assert error["quota"] == {
        "name": "tenant:budget:usd:total:hard",
        "unit": "usd",
        "limit": 0.00000015,
        "used": 0.00000012,
        "reset": None,
    }
    assert "0.00000012 USD of 0.00000015 USD" in error["message"]
    assert "never" in error["message"]
    assert "retry-after" not in refused.headers


def test_a_budget_near_its_end_goes_to_the_cheapest(metered: RouterUnderTest) -> None:
    """The dear target comes first by priority until less than a tenth of the budget is left."""
    targets = [ask(metered, "thrifty", model="two").headers for _ in range(10)]
    assert [one["x-embedway-target"] for one in targets] == ["plain-target"] * 9 + ["cheap-target"]
    assert [one["x-embedway-cost-usd"] for one in targets[-2:]] == ["0.00000006", "0.000000006"]


def test_a_rate_limit_says_when_to_come_back(metered: RouterUnderTest) -> None:
    """OpenAI's headers count down, and 429 carries Retry-After until the window's end."""
    first, second = ask(metered, "rate"), ask(metered, "rate")
    for answer, remaining in ((first, "1"), (second, "0")):
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == remaining
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
    refused = ask(metered, "rate")
    assert refused.status == 429
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    wait_s = int(refused.headers["retry-after"])
    tomorrow = datetime.fromtimestamp(metered.clock.wall_s() + wait_s, UTC)
    assert (tomorrow.hour, tomorrow.minute) == (0, 0)
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_the_tightest_of_several_quotas_decides(metered: RouterUnderTest) -> None:
    """Two requests of three tokens fit seven; the hundred requests an hour do not matter."""
    first, second = ask(metered, "both"), ask(metered, "both")
    assert (first.status, second.status) == (200, 200)
    assert second.headers["x-ratelimit-remaining-tokens"] == "1"
    assert second.headers["x-ratelimit-remaining-requests"] == "98"
    refused = ask(metered, "both")
    assert refused.status == 429
    assert refused.json["error"]["quota"]["name"] == "tenant:both:tokens:day:hard"
    # What the refused request had set aside of the other quota is there again.
    assert ask(metered, "both", input=[[7]] * 50).status == 429


def test_a_soft_quota_warns_and_lets_through(metered: RouterUnderTest) -> None:
    """The answer names it once it is passed, and so does the log."""
    assert "x-embedway-quota-passed" not in ask(metered, "soft").headers
    assert (
        ask(metered, "soft").headers["x-embedway-quota-passed"] == "tenant:soft:tokens:total:soft"
    )
    assert metered.logged("quota_passed", quota="tenant:soft:tokens:total:soft")["limit"] == 4


def test_a_shadow_quota_only_counts(metered: RouterUnderTest) -> None:
    """A limit of none at all refuses nobody; the store has the count."""
    assert ask(metered, "shadow").status == 200

    def is_counted() -> bool:
        with metered.app._ground.engine.connect() as connection:
            query = select(quota_windows.c.spent)
            name = "tenant:shadow:requests:total:shadow"
            return connection.execute(query.where(quota_windows.c.quota == name)).scalar() == 1

    eventually(is_counted)


def test_an_unknown_price_is_refused_where_usd_are_limited(metered: RouterUnderTest) -> None:
    """Not let through for nothing; a tenant without a budget may ask."""
    refused = ask(metered, "unpriced", model="org/wide")
    assert (refused.status, refused.json["error"]["code"]) == (402, "price_unknown")
    answer = ask(metered, "limitless", model="org/wide")
    assert answer.status == 200
    assert "x-embedway-cost-usd" not in answer.headers


def test_what_no_target_has_worked_on_costs_nothing(metered: RouterUnderTest) -> None:
    """Six tokens serve one request and one that was given up, after any number that failed."""
    fake = metered.fake("plain-target")
    fake.fail_with = UpstreamError("down")
    for _ in range(3):
        assert ask(metered, "refunded").status == 502
    fake.fail_with, fake.delay_s = None, 30.0
    _leave(metered)
    fake.delay_s = 0.0
    assert [ask(metered, "refunded").status for _ in range(2)] == [200, 402]
    kept = records(metered, "refunded", 5)
    assert [(one["status"], one["tokens"]) for one in kept] == [
        *[("upstream_error", 0)] * 3,
        ("cancelled", TOKENS),
        ("ok", TOKENS),
    ]


def _leave(router: RouterUnderTest) -> None:
    """Ask, and hang up once the target has been asked."""
    calls = router.fake("plain-target").calls
    asked, body = len(calls), json.dumps({"model": "plain", "input": TEXT}).encode()
    with socket.create_connection(router.address) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % (key("refunded").encode(), len(body), body)
        )
        eventually(lambda: len(calls) > asked)
    eventually(lambda: router.under_way == 0)


def test_other_doors_refuse_in_their_own_shape(metered: RouterUnderTest) -> None:
    """KServe over HTTP and gRPC: the same sentence, the same headers or metadata."""
    body = {"inputs": [{"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [TEXT]}]}
    over_http = call(
        metered, "POST", "/v2/models/plain/infer", json.dumps(body).encode(), shown("doors")
    )
    assert over_http.status == 429
    assert "tenant:doors:requests:day:hard" in over_http.json["error"]
    assert over_http.headers["x-ratelimit-limit-requests"] == "0"
    with pytest.raises(grpc.RpcError) as caught:
        _infer(metered, "doors")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "tenant:doors:requests:day:hard" in caught.value.details()
    trailing = dict(caught.value.trailing_metadata())
    assert int(trailing["retry-after"]) > 0
    assert trailing["x-ratelimit-remaining-requests"] == "0"


def test_grpc_answers_carry_the_cost_in_their_metadata(metered: RouterUnderTest) -> None:
    """Behind the answer, as headers do over HTTP."""
    assert dict(_infer(metered, "limitless"))["x-embedway-cost-usd"] == "0.00000006"


def _infer(router: RouterUnderTest, tenant: str) -> Any:
    """Trailing metadata of a call through the protocol's own stub, which shows it."""
    request = messages.ModelInferRequest(model_name="plain")
    request.inputs.add(name="TEXT", datatype="BYTES", shape=(1,))
    request.inputs[0].contents.bytes_contents.append(TEXT.encode())
    with grpc.insecure_channel(router.grpc_host) as channel:
        call_ = GRPCInferenceServiceStub(channel).ModelInfer.with_call
        _, done = call_(request, metadata=list(shown(tenant).items()), timeout=60)
        return done.trailing_metadata()


def test_openai_s_client_understands_the_refusals(metered: RouterUnderTest) -> None:
    """It retries 429 by its headers, and gives 402 to its caller at once."""
    base = {"base_url": f"{metered.url}/v1", "max_retries": 0}
    with OpenAI(api_key=key("doors"), **base) as client, pytest.raises(RateLimitError) as limited:
        client.embeddings.create(model="plain", input=TEXT)
    assert limited.value.code == "rate_limit_exceeded"
    with OpenAI(api_key=key("unpriced"), **base) as client, pytest.raises(APIStatusError) as spent:
        client.embeddings.create(model="org/wide", input=TEXT)
    assert (spent.value.status_code, spent.value.code) == (402, "price_unknown")


def test_the_ledger_has_a_record_of_each_request(metered: RouterUnderTest) -> None:
    """Who, what, where, how much: under the names that the client gave its request and trace."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = shown("ledger") | {
        "x-request-id": "mine-1",
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
    }
    assert embed(metered, headers=headers, input=[TEXT, TEXT]).status == 200
    (kept,) = records(metered, "ledger", 1)
    vague = ("record", "time_s", "latency_us")
    assert {name: kept[name] for name in kept if name not in vague} == {
        "request_id": "mine-1", "tenant": "ledger", "key_name": "k", "route": "plain",
        "target": "plain-target", "space": "plain-space", "status": "ok", "inputs": 2,
        "tokens": 2 * TOKENS, "cost_nano_usd": 2 * COST, "cached_tokens": 0, "attempts": 1,
        "trace_id": trace,
    }  # fmt: skip
    assert abs(kept["time_s"] - metered.clock.wall_s()) < 60
    assert 0 < kept["latency_us"] < 10_000_000


def test_without_store_and_quotas_nothing_is_counted(minilm: Path) -> None:
    """No meter, so no spool and no header; a quota alone turns it on."""
    parsed = yaml.safe_load(fake_settings(minilm))
    parsed.pop("store", None)
    assert not Settings.model_validate(parsed).is_metered
    parsed["routes"]["plain"]["quotas"] = [{"unit": "tokens", "limit": 1, "window": "day"}]
    assert Settings.model_validate(parsed).is_metered
