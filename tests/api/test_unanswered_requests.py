"""What requests without an answer cost: as much as their targets may ask for, and no more.

Each text has three tokens, each call takes one; a dear target asks 0.02 USD for a million.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from router.domain.errors import EmbedwayError, UpstreamError, UpstreamRejectedError
from router.domain.journal import Call
from router.domain.types import Float32Array, TokenBatch
from router.store.tables import quota_windows
from router.upstreams.fake import FakeUpstream
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.tenants import declared, key, records, shown
from tests.support.wire import Answer, call, embed

TOKENS, COST = 3, 60  # of one text; nano-USD
LONG_S, HANGS_S = 25.0, 60.0
DEAR, CHEAP, FREE = "dear-target", "cheap-target", "free-target"
PRICES = {DEAR: 0.02, CHEAP: 0.002, FREE: 0}
ROUTES: dict[str, dict[str, Any]] = {
    "dear": {"targets": [DEAR]},
    "free": {"targets": [FREE]},
    "both": {"targets": [DEAR, CHEAP]},
    "hedged": {"targets": [DEAR, CHEAP], "hedge_quantile": 0.9},
}
BUDGET = {"unit": "usd", "limit": 0.00000015, "window": "total"}
TENANTS: dict[str, list[dict[str, Any]]] = {
    "leaver": [BUDGET],
    "waiter": [BUDGET],
    "poisoner": [BUDGET | {"limit": 0.0000002}],
    "counted": [
        {"unit": "tokens", "limit": 2 * TOKENS, "window": "total"},
        {"unit": "requests", "limit": 100, "window": "total"},
    ],
    "patient": [],
    "hasty": [],
}


class Failing(FakeUpstream):
    """Answers the first `good` calls, and no other."""

    def __init__(self, error: EmbedwayError) -> None:
        super().__init__(384)
        self.error = error
        self.good = 0

    async def embed(
        self, batch: TokenBatch, timeout_s: float, call: Call | None = None
    ) -> Float32Array:
        self.good -= 1
        if self.good < 0:
            raise self.error
        return await super().embed(batch, timeout_s, call)


@contextmanager
def billing(minilm: Path, request_s: float, dear_s: float) -> Iterator[RouterUnderTest]:
    """A router with priced targets; how long a request and a call to the dear one may take."""
    parsed = yaml.safe_load(fake_settings(minilm, request_timeout_s=request_s))
    for name, price in PRICES.items():
        parsed["targets"][name] = {
            "space": "plain-space",
            "upstream": "fake",
            "max_tokens_per_call": TOKENS,
            "timeout_s": dear_s if name == DEAR else LONG_S,
            "price_usd_per_million_tokens": price,
        }
    parsed["routes"] |= ROUTES
    parsed["tenants"] |= declared(TENANTS)
    with RouterUnderTest(yaml.safe_dump(parsed)) as router:
        yield router.up()


@pytest.fixture
def billed(minilm: Path) -> Iterator[RouterUnderTest]:
    """A router with priced targets, where nothing runs out of time on a busy machine."""
    with billing(minilm, LONG_S, LONG_S) as router:
        yield router


def ask(router: RouterUnderTest, tenant: str, model: str = "dear", count: int = 1) -> Answer:
    return embed(router, headers=shown(tenant), model=model, input=["harbour"] * count)


def leave(router: RouterUnderTest, tenant: str, model: str = "dear", target: str = DEAR) -> None:
    """Ask, and hang up once the target has been asked."""
    fake = router.fake(target)
    asked, fake.delay_s = len(fake.calls), HANGS_S
    body = b'{"model":"%b","input":"harbour"}' % model.encode()
    with socket.create_connection(router.address) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % (key(tenant).encode(), len(body), body)
        )
        eventually(lambda: len(fake.calls) > asked)
    eventually(lambda: router.under_way == 0)
    fake.delay_s = 0.0


def told(record: dict[str, Any]) -> tuple[Any, ...]:
    names = ("status", "target", "tokens", "cost_nano_usd", "attempts")
    return tuple(record[name] for name in names)


def spent(router: RouterUnderTest, tenant: str, unit: str) -> int:
    with router.app._ground.engine.connect() as connection:
        name = f"tenant:{tenant}:{unit}:total:hard"
        query = select(quota_windows.c.spent).where(quota_windows.c.quota == name)
        return int(connection.execute(query).scalar() or 0)


def costs(router: RouterUnderTest) -> tuple[float, float]:
    """Nano-USD by the metrics: of all tenants, and of all targets."""
    page = call(router, "GET", "/metrics", headers={"accept": "*/*"}).body.decode()

    def total(of: str) -> float:
        sample = rf"^embedway_{of}_cost_usd_total\{{[^}}]*\}} (\S+)"
        return round(sum(map(float, re.findall(sample, page, re.MULTILINE))) * 1e9, 3)

    return total("tenant"), total("target")


def test_who_leaves_pays_for_the_call_under_way(billed: RouterUnderTest) -> None:
    """A budget for two requests is used up by two that nobody waited for."""
    for _ in range(2):
        leave(billed, "leaver")
    refused = ask(billed, "leaver")
    assert (refused.status, refused.json["error"]["code"]) == (402, "budget_exhausted")
    for record in records(billed, "leaver", 2):
        assert told(record) == ("cancelled", DEAR, TOKENS, COST, 1)
    assert spent(billed, "leaver", "usd") == 2 * COST
    assert costs(billed) == (2 * COST, 2 * COST)


def test_who_runs_out_of_time_pays_for_the_call_under_way(minilm: Path) -> None:
    """The deadline ends the request; the target may ask for its work all the same."""
    with billing(minilm, 3.0, LONG_S) as router:
        router.fake(DEAR).delay_s = HANGS_S
        assert ask(router, "waiter").status == 504
        (record,) = records(router, "waiter", 1)
        assert told(record) == ("deadline_exceeded", DEAR, TOKENS, COST, 1)
        assert costs(router) == (COST, COST)


@pytest.mark.parametrize(
    "error",
    [UpstreamRejectedError("no"), UpstreamError("broken")],
    ids=lambda error: error.code,
)
def test_one_bad_input_does_not_make_the_others_free(
    billed: RouterUnderTest, error: EmbedwayError
) -> None:
    """Of five calls two gave vectors: these are paid for, what was refused or failed is not."""
    failing = Failing(error)
    billed.replace(DEAR, failing)
    failing.good = 2
    assert ask(billed, "patient", count=5).status == 502
    (record,) = records(billed, "patient", 1)
    assert record["attempts"] >= 5
    assert told(record)[:4] == (error.code, DEAR, 2 * TOKENS, 2 * COST)
    assert costs(billed) == (2 * COST, 2 * COST)


def test_bad_inputs_use_a_budget_up(billed: RouterUnderTest) -> None:
    """Whoever sends one with every request is refused like anyone else once the money is spent."""
    failing = Failing(UpstreamRejectedError("no"))
    billed.replace(DEAR, failing)
    statuses = []
    for _ in range(3):
        failing.good = 1
        statuses.append(ask(billed, "poisoner", count=2).status)
    assert statuses == [502, 502, 402]
    records(billed, "poisoner", 2)
    assert spent(billed, "poisoner", "usd") == 2 * COST


def test_tokens_and_requests_are_counted_where_the_target_is_free(billed: RouterUnderTest) -> None:
    """Rates hold for those who leave, too; a target that failed at once costs nothing of them."""
    fake = billed.fake(FREE)
    fake.fail_with = UpstreamError("down")
    assert ask(billed, "counted", "free").status == 502
    fake.fail_with = None
    for _ in range(2):
        leave(billed, "counted", "free", FREE)
    assert ask(billed, "counted", "free").status == 402
    failed, *left = records(billed, "counted", 3)
    assert told(failed)[:4] == ("upstream_error", "", 0, 0)
    assert [told(one) for one in left] == [("cancelled", FREE, TOKENS, 0, 1)] * 2
    assert spent(billed, "counted", "tokens") == 2 * TOKENS
    assert spent(billed, "counted", "requests") == 2


def test_an_answer_after_a_timeout_costs_no_more_than_was_reserved(minilm: Path) -> None:
    """The dear target was asked in vain and the cheap one answered: 60 and 6, of 60 set aside."""
    with billing(minilm, LONG_S, 0.6) as router:
        router.fake(DEAR).delay_s = HANGS_S
        answer = ask(router, "patient", "both")
        assert (answer.status, answer.headers["x-embedway-target"]) == (200, CHEAP)
        assert answer.headers["x-embedway-cost-usd"] == "0.00000006"
        (record,) = records(router, "patient", 1)
        assert told(record) == ("ok", CHEAP, TOKENS, COST, 2)
        assert costs(router) == (COST, COST + COST // 10)


def test_both_calls_of_a_hedge_are_paid_for(billed: RouterUnderTest) -> None:
    """The slower one was cancelled while it worked; twice the dear price was set aside."""
    state = billed.app.fleet.states[DEAR]
    for _ in range(50):
        state.latency.observe(0.05, 0.0)
    billed.fake(DEAR).delay_s = HANGS_S
    answer = ask(billed, "hasty", "hedged")
    assert (answer.status, answer.headers["x-embedway-target"]) == (200, CHEAP)
    (record,) = records(billed, "hasty", 1)
    assert told(record) == ("ok", CHEAP, TOKENS, COST + COST // 10, 2)
    assert costs(billed) == (COST + COST // 10, COST + COST // 10)
