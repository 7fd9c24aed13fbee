"""Tokens in place of keys, through the whole router, from a real provider on this machine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.clocks import ShiftedClock
from tests.support.keys import wait_for_store
from tests.support.provider import Provider
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import fake_settings
from tests.support.wire import Answer, call


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def token_router(minilm: Path, provider: Provider) -> Iterator[RouterUnderTest]:
    settings = yaml.safe_load(fake_settings(minilm))
    issuer = {"issuer": provider.issuer, "audience": ["embedway"]}
    settings["authentication"] = {"issuers": {"ours": issuer}}
    settings["tenants"]["gone"] = {"disabled": True}
    with pytest.MonkeyPatch.context() as patch:
        wait_for_store(patch)
        with RouterUnderTest(yaml.safe_dump(settings), clock=ShiftedClock()) as router:
            yield router.up()


def admin(router: RouterUnderTest, method: str, path: str, body: object) -> int:
    return call(router, method, f"/admin/v1/{path}", json.dumps(body).encode()).status


def embed(router: RouterUnderTest, token: bytes) -> Answer:
    body = b'{"model": "plain", "input": "a"}'
    headers = {"authorization": f"Bearer {token.decode()}"}
    return call(router, "POST", "/v1/embeddings", body, headers=headers)


def test_a_token_of_a_tenant_of_the_file_works(
    token_router: RouterUnderTest, provider: Provider
) -> None:
    """Tenant and bearer stand in the log; the token does not."""
    token = provider.token(time.time(), tenant="testers", sub="service-9")
    answer = embed(token_router, token)
    assert answer.status == 200
    line = token_router.logged("request", request_id=answer.headers["x-request-id"])
    assert (line["tenant"], line["key"]) == ("testers", "service-9")
    assert token.rpartition(b".")[2] not in token_router.log


def test_a_tenant_of_the_store_can_be_disabled_under_its_tokens(
    token_router: RouterUnderTest, provider: Provider
) -> None:
    """A token cannot be taken back, its tenant can: at the next question, however warm it is."""
    token = provider.token(time.time(), tenant="late")
    refused = embed(token_router, token)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert admin(token_router, "POST", "tenants", {"name": "late"}) == 201
    assert embed(token_router, token).status == 200
    assert admin(token_router, "PATCH", "tenants/late", {"disabled": True}) == 200
    token_router.hear()
    assert embed(token_router, token).status == 401


def test_a_disabled_tenant_of_the_file_has_no_tokens(
    token_router: RouterUnderTest, provider: Provider
) -> None:
    """Nor is the store asked about it."""
    assert embed(token_router, provider.token(time.time(), tenant="gone")).status == 401


def test_a_token_has_its_scopes(token_router: RouterUnderTest, provider: Provider) -> None:
    """403 where they are too few; admin opens the admin API."""
    poor = provider.token(time.time(), tenant="testers", scope="openid")
    assert embed(token_router, poor).status == 403
    boss = provider.token(time.time(), tenant="testers", scope="embedway:admin")
    headers = {"authorization": f"Bearer {boss.decode()}"}
    assert call(token_router, "GET", "/admin/v1/tenants", headers=headers).status == 200


def test_a_token_ends_while_it_is_in_memory(
    token_router: RouterUnderTest, provider: Provider
) -> None:
    """Its time is looked at on every request."""
    clock = token_router.clock
    assert isinstance(clock, ShiftedClock)
    token = provider.token(time.time(), tenant="testers", exp=int(time.time()) + 60)
    assert embed(token_router, token).status == 200
    # The leeway is 30 s; a slow machine has 20 s of it here.
    clock.ahead_s = 70
    assert embed(token_router, token).status == 200
    clock.ahead_s = 91
    assert embed(token_router, token).status == 401
    clock.ahead_s = 0


def test_a_warm_token_asks_nobody(token_router: RouterUnderTest, provider: Provider) -> None:
    """It is checked once and answered from memory then."""
    token = provider.token(time.time(), tenant="testers")
    assert embed(token_router, token).status == 200
    shown = b"Bearer " + token
    assert token_router.app.authenticator.known(shown) is not None


def test_garbage_tokens_are_wrong(token_router: RouterUnderTest, provider: Provider) -> None:
    """401, with what is wrong in a sentence and nothing of the token."""
    for token in (b"eyJ.eyJ.x", provider.token(time.time(), tenant="testers")[:-9] + b"AAAAAAAAA"):
        answer = embed(token_router, token)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert token.decode() not in answer.body.decode()
