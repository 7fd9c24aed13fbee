"""`GET /admin/v1/usage`: what was asked for is in the ledger, and who may read it."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from router.domain.keys import fingerprint
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import Answer, call

BOSS, READER, RIVAL = "ew-boss-0123456789", "ew-reader-0123456789", "ew-rival-0123456789"
WRITTEN_S = 10.0


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
        for key, count in ((BOSS, 3), (RIVAL, 2)):
            for _ in range(count):
                assert embed(router, key).status == 200
        eventually(lambda: sum(row["requests"] for row in rows(usage(router))) == 5, WRITTEN_S)
        yield router


def embed(router: RouterUnderTest, key: str) -> Answer:
    body = b'{"model": "plain", "input": ["one", "two"]}'
    headers = {"authorization": f"Bearer {key}"}
    return call(router, "POST", "/v1/embeddings", body, headers=headers)


def usage(router: RouterUnderTest, query: str = "", key: str = BOSS) -> Answer:
    headers = {"authorization": f"Bearer {key}"}
    return call(router, "GET", f"/admin/v1/usage{query}", headers=headers)


def rows(answer: Answer) -> list[dict[str, object]]:
    assert answer.status == 200, answer.body
    data: list[dict[str, object]] = answer.json["data"]
    return data


def test_usage_is_grouped_by_anything(usage_router: RouterUnderTest) -> None:
    """Counts and tokens are those of the answers: 6 tokens a request here."""
    found = rows(usage(usage_router, "?group_by=tenant,key,route"))
    assert [
        (row["tenant"], row["key"], row["route"], row["requests"], row["inputs"], row["tokens"])
        for row in sorted(found, key=lambda row: str(row["tenant"]))
    ] == [("acme", "boss", "plain", 3, 6, 18), ("rival", "first", "plain", 2, 4, 12)]


def test_usage_is_filtered_and_cut(usage_router: RouterUnderTest) -> None:
    """By any name; a list that is longer than its limit says so."""
    (row,) = rows(usage(usage_router, "?tenant=rival&group_by=day"))
    assert row["requests"] == 2
    assert rows(usage(usage_router, "?tenant=nobody")) == []
    assert rows(usage(usage_router, "?until=1000000000")) == []
    cut = usage(usage_router, "?limit=1")
    assert (len(rows(cut)), cut.json["has_more"]) == (1, True)


def test_usage_as_csv(usage_router: RouterUnderTest) -> None:
    """With a line of headings, as spreadsheets read it."""
    answer = usage(usage_router, "?format=csv&group_by=tenant")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert {row["tenant"]: row["requests"] for row in found} == {"acme": "3", "rival": "2"}


def test_a_key_with_usage_sees_its_own_tenant(usage_router: RouterUnderTest) -> None:
    """Others are for administrators; a key without either scope sees nothing."""
    assert {row["tenant"] for row in rows(usage(usage_router, key=READER))} == {"acme"}
    other = usage(usage_router, "?tenant=rival", key=READER)
    assert (other.status, other.error["code"]) == (403, "insufficient_scope")
    assert usage(usage_router, key=RIVAL).status == 403


@pytest.mark.parametrize(
    "query",
    [
        "?group_by=colour",
        "?group_by=",
        "?group_by=tenant,tenant",
        "?since=5&until=5",
        "?since=x",
        "?limit=0",
        "?limit=10001",
        "?format=xml",
        "?page=2",
        "?tenant=a&tenant=b",
        "?tenant=%00",
        "?hour=1",
    ],
)
def test_a_question_that_cannot_be_is_refused(usage_router: RouterUnderTest, query: str) -> None:
    """With the parameter, in OpenAI's shape."""
    answer = usage(usage_router, query)
    assert (answer.status, answer.error["code"]) == (400, "invalid_input")
