"""What was asked for over HTTP is in the ledger, and who may read it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from router.domain.keys import fingerprint
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import Answer, call

BOSS, READER, RIVAL = "ew-boss-0123456789", "ew-reader-0123456789", "ew-rival-0123456789"


@pytest.fixture(scope="module")
def usage_router(minilm: Path) -> Iterator[RouterUnderTest]:
    """A router where two tenants have asked for vectors, and the ledger knows."""
    settings = yaml.safe_load(fake_settings(minilm))
    settings["tenants"] = {
        "acme": {
            "keys": [
                {"name": "boss", "sha256": fingerprint(BOSS), "scopes": ["admin", "embed"]},
                {"name": "reader", "sha256": fingerprint(READER), "scopes": ["usage"]},
            ]
        },
        "rival": {"keys": [{"name": "first", "sha256": fingerprint(RIVAL), "scopes": ["embed"]}]},
    }
    with RouterUnderTest(yaml.safe_dump(settings)) as router:
        router.up()
        for key, count in ((BOSS, 3), (RIVAL, 2)):
            for _ in range(count):
                assert embed(router, key).status == 200
        eventually(lambda: sum(int(row["requests"]) for row in rows(usage(router))) == 5)
        yield router


def embed(router: RouterUnderTest, key: str) -> Answer:
    body = b'{"model": "plain", "input": ["one", "two"]}'
    headers = {"authorization": f"Bearer {key}"}
    return call(router, "POST", "/v1/embeddings", body, headers=headers)


def usage(router: RouterUnderTest, query: str = "?by=tenant", key: str = BOSS) -> Answer:
    headers = {"authorization": f"Bearer {key}"}
    return call(router, "GET", f"/admin/v1/usage{query}", headers=headers)


def rows(answer: Answer) -> list[dict[str, str | int]]:
    assert answer.status == 200, answer.body
    data: list[dict[str, str | int]] = answer.json["data"]
    return data


def test_usage_is_what_was_answered(usage_router: RouterUnderTest) -> None:
    """Counts and tokens are those of the answers: 6 tokens a request here."""
    found = rows(usage(usage_router, "?by=tenant,key,route"))
    assert [
        (row["tenant"], row["key"], row["route"], row["requests"], row["inputs"], row["tokens"])
        for row in sorted(found, key=lambda row: str(row["tenant"]))
    ] == [("acme", "boss", "plain", 3, 6, 18), ("rival", "first", "plain", 2, 4, 12)]


def test_others_usage_is_for_administrators(usage_router: RouterUnderTest) -> None:
    """A key with `usage` sees its own tenant's; one with neither scope sees nothing."""
    assert {row["tenant"] for row in rows(usage(usage_router, key=READER))} == {"acme"}
    other = usage(usage_router, "?tenant=rival", key=READER)
    assert (other.status, other.error["code"]) == (403, "insufficient_scope")
    assert usage(usage_router, key=RIVAL).status == 403


@pytest.mark.parametrize("query", ["?tenant=%00", f"?key={'a' * 400}"])
def test_a_name_that_nothing_can_have_is_refused(usage_router: RouterUnderTest, query: str) -> None:
    """By us, and not by the database."""
    answer = usage(usage_router, query)
    assert (answer.status, answer.error["code"]) == (400, "invalid_input")
