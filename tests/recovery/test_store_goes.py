"""A database that goes and comes: who is known goes on, who is not is told to come again."""

import json
import time
from pathlib import Path

import yaml

from router.domain.keys import new_key
from tests.support.postgres import Postgres
from tests.support.router_under_test import RouterUnderTest, eventually
from tests.support.settings import fake_settings
from tests.support.wire import Answer, call

STALENESS_S = 10.0
# A router asks once a second, and later on a machine that stands still for a moment.
_STALL_S = 5.0


def embed(router: RouterUnderTest, key: str) -> Answer:
    body = b'{"model": "plain", "input": "a"}'
    headers = {"authorization": f"Bearer {key}"}
    return call(router, "POST", "/v1/embeddings", body, headers=headers)


def admin(router: RouterUnderTest, path: str, body: object) -> Answer:
    return call(router, "POST", f"/admin/v1/{path}", json.dumps(body).encode())


def test_keys_while_postgres_is_away(minilm: Path, postgres: Postgres, tmp_path: Path) -> None:
    """Known ones work within the staleness that is allowed, then 503; unknown ones 503, not 401.

    Those of the file never need the database. When it is back, all is as before.
    """
    settings = yaml.safe_load(fake_settings(minilm))
    settings["store"] = {"url": postgres.upgraded(), "state": str(tmp_path)}
    settings["authentication"] = {"max_staleness_s": STALENESS_S}
    with RouterUnderTest(yaml.safe_dump(settings)) as router:
        admin(router, "tenants", {"name": "acme"})
        known = admin(router, "tenants/acme/keys", {"name": "known"}).json["value"]
        cold = admin(router, "tenants/acme/keys", {"name": "cold"}).json["value"]
        assert embed(router, known).status == 200
        # What a router knows is as old as its last question, which was asked before the end.
        stopped_s = time.monotonic()
        postgres.stop()
        try:
            assert embed(router, known).status == 200
            for unknown in (cold, new_key()):
                answer = embed(router, unknown)
                assert (answer.status, answer.error["code"]) == (503, "keys_unavailable")
                assert "retry-after" in answer.headers
            answer = admin(router, "tenants", {"name": "rival"})
            assert (answer.status, answer.error["code"]) == (503, "store_unavailable")
            eventually(lambda: embed(router, known).status == 503, STALENESS_S + 30)
            assert time.monotonic() - stopped_s >= STALENESS_S - _STALL_S
            assert call(router, "GET", "/v1/models").status == 200
            assert embed(router, "wrong-from-its-form").status == 401
            router.logged("store", reachable=False)
        finally:
            postgres.start()
        eventually(lambda: embed(router, known).status == 200)
        assert embed(router, cold).status == 200
        assert embed(router, new_key()).status == 401
        router.logged("store", reachable=True)
