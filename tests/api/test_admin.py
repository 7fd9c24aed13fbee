"""Tenants and keys over HTTP, as an administrator makes and changes them."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.authentication import changes
from tests.support.clocks import ShiftedClock
from tests.support.keys import wait_for_store
from tests.support.postgres import Postgres
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import fake_settings
from tests.support.wire import Answer, call

# A pause between two questions to the store, and the longest that one may take.
HEARD_S = changes.INTERVAL_S + changes._TIMEOUT_S
NAMES = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def routers(
    request: pytest.FixtureRequest, minilm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RouterUnderTest, RouterUnderTest]]:
    """Two routers on one database, as two processes are."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/embedway.db"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.upgraded()
    settings = yaml.safe_load(fake_settings(minilm))
    settings["routes"]["plain"]["quotas"] = [
        {"unit": "tokens", "limit": 9_000_000, "window": "minute"}
    ]
    texts = []
    for name in ("first", "second"):
        state = str(tmp_path_factory.mktemp(name))
        texts.append(yaml.safe_dump(settings | {"store": {"url": url, "state": state}}))
    clock = ShiftedClock()
    with pytest.MonkeyPatch.context() as patch:
        wait_for_store(patch)
        with (
            RouterUnderTest(texts[0], clock=clock) as first,
            RouterUnderTest(texts[1], clock=clock) as second,
        ):
            yield first.up(), second.up()


@pytest.fixture
def tenant(routers: tuple[RouterUnderTest, RouterUnderTest]) -> str:
    """A new tenant's name."""
    name = f"tenant-{next(NAMES)}"
    assert admin(routers[0], "POST", "tenants", name=name).status == 201
    return name


def admin(router: RouterUnderTest, method: str, path: str, **body: Any) -> Answer:
    content = json.dumps(body).encode() if method != "GET" else None
    return call(router, method, f"/admin/v1/{path}", content)


def made_key(router: RouterUnderTest, tenant: str, name: str = "first", **body: Any) -> str:
    answer = admin(router, "POST", f"tenants/{tenant}/keys", name=name, **body)
    assert answer.status == 201, answer.body
    value: str = answer.json["value"]
    return value


def status(router: RouterUnderTest, value: str) -> int:
    """What a request for a vector with that key is answered with."""
    body = b'{"model": "plain", "input": "a"}'
    headers = {"authorization": f"Bearer {value}"}
    return call(router, "POST", "/v1/embeddings", body, headers=headers).status


def test_a_new_key_works_at_once_in_every_process(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """It is found in the store; nothing has to be told about it."""
    value = made_key(routers[0], tenant)
    assert [status(router, value) for router in routers] == [200, 200]
    request = routers[1].logged("request", tenant=tenant)
    assert request["key"] == "first"


def test_a_key_is_shown_once_and_kept_as_its_hash(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """No later answer and no row of the database holds it."""
    value = made_key(routers[0], tenant)
    listed = admin(routers[0], "GET", f"tenants/{tenant}/keys")
    assert value not in listed.body.decode()
    assert "value" not in listed.json["data"][0]
    with routers[0].app._ground.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM keys").all()
    assert value not in repr(rows)
    assert value not in routers[0].log.decode()


def test_two_seconds_are_time_for_a_whole_question() -> None:
    """A change is heard in the next question, so all processes obey it within 2 s."""
    assert HEARD_S < 2


def test_a_disabled_key_is_refused_everywhere_after_the_next_question(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """Also where it was warm, and it comes back when it is enabled."""
    value = made_key(routers[0], tenant)
    assert [status(router, value) for router in routers] == [200, 200]
    path = f"tenants/{tenant}/keys/first"
    assert admin(routers[0], "PATCH", path, disabled=True).json["status"] == "disabled"
    for router in routers:
        router.hear()
        assert status(router, value) == 401
    assert admin(routers[0], "PATCH", path, disabled=False).json["status"] == "active"
    for router in routers:
        router.hear()
        assert status(router, value) == 200


def test_a_disabled_tenant_is_refused_everywhere_after_the_next_question(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """All its keys at once."""
    values = [made_key(routers[0], tenant, name) for name in ("first", "second")]
    assert {status(routers[1], value) for value in values} == {200}
    answer = admin(routers[0], "PATCH", f"tenants/{tenant}", disabled=True)
    assert answer.json["status"] == "disabled"
    routers[1].hear()
    assert {status(routers[1], value) for value in values} == {401}


def test_a_rotated_key_has_two_values_until_its_grace_is_over(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """Then the old one is refused, in time and without a further question: each process knows."""
    old = made_key(routers[0], tenant, tags={"team": "search"}, scopes=["embed", "usage"])
    assert status(routers[1], old) == 200
    path = f"tenants/{tenant}/keys/first/rotate"
    rotated = admin(routers[0], "POST", path, grace_s=300)
    new = rotated.json["value"]
    assert rotated.json["tags"] == {"team": "search"}
    assert rotated.json["scopes"] == ["embed", "usage"]
    routers[1].hear()
    assert [status(routers[1], value) for value in (old, new)] == [200, 200]
    listed = admin(routers[0], "GET", f"tenants/{tenant}/keys").json["data"]
    assert {key["status"] for key in listed} == {"active", "rotated"}
    clock = routers[1].clock
    assert isinstance(clock, ShiftedClock)
    clock.ahead_s += 301
    assert status(routers[1], old) == 401
    assert [status(router, new) for router in routers] == [200, 200]


def test_a_key_rotated_without_grace_ends_with_the_next_question(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """As after a leak."""
    old = made_key(routers[0], tenant)
    assert status(routers[1], old) == 200
    new = admin(routers[0], "POST", f"tenants/{tenant}/keys/first/rotate", grace_s=0).json["value"]
    routers[1].hear()
    assert status(routers[1], old) == 401
    assert status(routers[1], new) == 200


def test_scopes_and_end_of_a_key_can_be_changed(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """Both are heard by a process that has the key in memory."""
    value = made_key(routers[0], tenant)
    assert status(routers[1], value) == 200
    path = f"tenants/{tenant}/keys/first"
    assert admin(routers[0], "PATCH", path, scopes=["usage"]).json["scopes"] == ["usage"]
    routers[1].hear()
    assert status(routers[1], value) == 403
    changed = admin(routers[0], "PATCH", path, scopes=["embed"], expires_at=1_000_000_000)
    assert changed.json["status"] == "expired"
    routers[1].hear()
    assert status(routers[1], value) == 401
    changed = admin(routers[0], "PATCH", path, never_expires=True)
    assert (changed.json["status"], changed.json["ends_at"]) == ("active", None)
    routers[1].hear()
    assert status(routers[1], value) == 200


def test_lists_come_in_pages(routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str) -> None:
    """Each page starts after the last of the one before; the last one says so."""
    for number in range(5):
        made_key(routers[0], tenant, f"key-{number}")
    names, after, more = [], "", True
    while more:
        cursor = f"&after={after}" if after else ""
        answer = admin(routers[0], "GET", f"tenants/{tenant}/keys?limit=2{cursor}").json
        names += [key["name"] for key in answer["data"]]
        after, more = answer["data"][-1]["id"], answer["has_more"]
    assert names == [f"key-{number}" for number in range(5)]
    found, after, more = [], "", True
    while more:
        cursor = f"&after={after}" if after else ""
        answer = admin(routers[0], "GET", f"tenants?limit=3{cursor}").json
        found += [item["name"] for item in answer["data"]]
        after, more = answer["data"][-1]["id"], answer["has_more"]
    assert len(found) == len(set(found))
    assert {tenant, "testers"} <= set(found)


def test_what_the_file_declares_is_shown_and_not_changed(
    routers: tuple[RouterUnderTest, RouterUnderTest],
) -> None:
    """409 for each change, and the sentence says where to change it."""
    router = routers[0]
    assert admin(router, "GET", "tenants/testers").json["source"] == "file"
    (key,) = admin(router, "GET", "tenants/testers/keys").json["data"]
    assert (key["name"], key["source"]) == ("test-key", "file")
    for method, path, body in [
        ("POST", "tenants", {"name": "testers"}),
        ("PATCH", "tenants/testers", {"disabled": True}),
        ("POST", "tenants/testers/keys", {"name": "another"}),
        ("PATCH", "tenants/testers/keys/test-key", {"disabled": True}),
        ("POST", "tenants/testers/keys/test-key/rotate", {}),
    ]:
        answer = admin(router, method, path, **body)
        assert (answer.status, answer.error["code"]) == (409, "declared_in_file"), path
        assert "configuration file" in answer.error["message"]


def test_names_are_taken_once_and_have_to_exist(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """409 for a name that is taken, 404 for one that is not there."""
    router = routers[0]
    made_key(router, tenant)
    taken = admin(router, "POST", "tenants", name=tenant)
    assert (taken.status, taken.error["code"]) == (409, "already_exists")
    taken = admin(router, "POST", f"tenants/{tenant}/keys", name="first")
    assert (taken.status, taken.error["code"]) == (409, "already_exists")
    for method, path in [
        ("GET", "tenants/nobody"),
        ("PATCH", "tenants/nobody"),
        ("GET", "tenants/nobody/keys"),
        ("PATCH", f"tenants/{tenant}/keys/none"),
        ("POST", f"tenants/{tenant}/keys/none/rotate"),
        ("GET", "tenants/%00"),
    ]:
        missing = admin(router, method, path)
        assert (missing.status, missing.error["code"]) == (404, "record_not_found"), path


def test_quotas_are_made_changed_listed_and_removed(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """A subject has one of each unit, window and mode; making it again changes its limit."""
    router = routers[0]
    body = {"scope": "key", "subject": f"{tenant}:first", "unit": "usd", "window": "month"}
    first = admin(router, "PUT", "quotas", limit=12.5, **body)
    assert first.status == 200
    assert (first.json["limit_amount"], first.json["mode"]) == (12_500_000_000, "hard")
    again = admin(router, "PUT", "quotas", limit="0.000000001", **body).json
    assert (again["id"], again["limit_amount"]) == (first.json["id"], 1)
    listed = admin(router, "GET", "quotas?limit=1000").json["data"]
    assert [quota["limit_amount"] for quota in listed if quota["id"] == again["id"]] == [1]
    assert call(router, "DELETE", f"/admin/v1/quotas/{again['id']}").json["deleted"]
    gone = call(router, "DELETE", f"/admin/v1/quotas/{again['id']}")
    assert (gone.status, gone.error["code"]) == (404, "record_not_found")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"subject": "nobody"}, 404, id="unknown tenant"),
        pytest.param({"scope": "route", "subject": "nowhere"}, 404, id="unknown route"),
        pytest.param({"scope": "route", "subject": "org/wide"}, 200, id="a route"),
        pytest.param({"scope": "key", "subject": "testers"}, 400, id="a key without its name"),
        pytest.param({"limit": 1.5}, 400, id="half a token"),
        pytest.param({"limit": -1}, 400, id="negative"),
        pytest.param({"window": "year"}, 400, id="no such window"),
    ],
)
def test_a_quota_is_of_somebody_and_of_something(
    routers: tuple[RouterUnderTest, RouterUnderTest], changes: dict[str, Any], status: int
) -> None:
    """A limit on nobody is a misspelt one."""
    body = {"scope": "tenant", "subject": "testers", "unit": "tokens", "window": "day"}
    assert admin(routers[0], "PUT", "quotas", **({"limit": 1000} | body | changes)).status == status


def test_a_quota_of_the_file_is_shown_and_not_changed(
    routers: tuple[RouterUnderTest, RouterUnderTest],
) -> None:
    """It comes first in the list."""
    router = routers[0]
    quota = admin(router, "GET", "quotas?limit=1").json["data"][0]
    assert (quota["source"], quota["subject"], quota["limit"]) == ("file", "plain", 9_000_000)
    body = {"scope": "route", "subject": "plain", "unit": "tokens", "window": "minute"}
    taken = admin(router, "PUT", "quotas", limit=5, **body)
    assert (taken.status, taken.error["code"]) == (409, "declared_in_file")
    path = f"/admin/v1/quotas/{quota['id'].removeprefix('file:')}"
    assert call(router, "DELETE", path).status == 409


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        pytest.param("tenants", {}, "name: Field required", id="missing"),
        pytest.param("tenants", {"name": "a b"}, "name: String should match", id="pattern"),
        pytest.param("tenants", {"name": "a", "nmae": 1}, "nmae", id="unknown field"),
        pytest.param("tenants", {"name": "a", "tags": {"b": 1}}, "tags", id="tag"),
        pytest.param("tenants/a/keys", {"name": "a", "scopes": ["root"]}, "scopes", id="scope"),
        pytest.param("tenants/a/keys", {"name": "a", "scopes": []}, "scopes", id="no scope"),
        pytest.param("tenants/a/keys", {"name": "a", "expires_at": -1}, "expires_at", id="end"),
        pytest.param("tenants/a/keys/b/rotate", {"grace_s": 1e9}, "grace_s", id="grace"),
    ],
)
def test_a_mistake_is_named(
    routers: tuple[RouterUnderTest, RouterUnderTest], path: str, body: Any, sentence: str
) -> None:
    """400, in OpenAI's shape, with the field."""
    answer = admin(routers[0], "POST", path, **body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_input")
    assert sentence in answer.error["message"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=%00", "page=2"])
def test_a_page_that_cannot_be_is_refused(
    routers: tuple[RouterUnderTest, RouterUnderTest], query: str
) -> None:
    """A parameter that would be ignored was meant to matter."""
    answer = admin(routers[0], "GET", f"tenants?{query}")
    assert (answer.status, answer.error["code"]) == (400, "invalid_input")


def test_the_log_says_who_changed_what(
    routers: tuple[RouterUnderTest, RouterUnderTest], tenant: str
) -> None:
    """One line a change."""
    made_key(routers[0], tenant, "audited")
    line = routers[0].logged("administration", action="create_key", of_tenant=tenant)
    assert (line["of_key"], line["by"]) == ("audited", "testers:test-key")
