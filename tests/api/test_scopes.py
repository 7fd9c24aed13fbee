"""What a key may be used for: each path asks for its scope, at both doors."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton
import yaml
from openai import OpenAI, PermissionDeniedError
from tritonclient.utils import InferenceServerException

from router.domain.keys import fingerprint
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import fake_settings
from tests.support.tensors import text_inputs
from tests.support.wire import call

SCOPES = ["embed", "batch", "usage", "admin"]
EMBED = ("POST", "/v1/embeddings", b'{"model": "plain", "input": "a"}')
INFER = (
    "POST",
    "/v2/models/plain/infer",
    b'{"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}',
)
TENANTS = ("GET", "/admin/v1/tenants", None)
MODELS = ("GET", "/v1/models", None)


def key(scope: str) -> str:
    return f"ew-only-for-{scope}-0123456789"


@pytest.fixture(scope="module")
def router_of_scopes(minilm: Path) -> Iterator[RouterUnderTest]:
    """A router with one key for each scope."""
    settings = yaml.safe_load(fake_settings(minilm))
    settings["tenants"] = {
        "acme": {
            "keys": [
                {"name": scope, "sha256": fingerprint(key(scope)), "scopes": [scope]}
                for scope in SCOPES
            ]
        }
    }
    with RouterUnderTest(yaml.safe_dump(settings)) as router:
        yield router.up()


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        pytest.param(EMBED, {"embed"}, id="embeddings"),
        pytest.param(INFER, {"embed"}, id="infer"),
        pytest.param(TENANTS, {"admin"}, id="tenants"),
        pytest.param(MODELS, set(SCOPES), id="models"),
    ],
)
def test_each_path_asks_for_its_scope(
    router_of_scopes: RouterUnderTest, request_: tuple[str, str, bytes | None], allowed: set[str]
) -> None:
    """A key with another scope is good, but not for this: 403."""
    method, path, body = request_
    for scope in SCOPES:
        headers = {"authorization": f"Bearer {key(scope)}"}
        answer = call(router_of_scopes, method, path, body, headers=headers)
        assert answer.status == (200 if scope in allowed else 403), scope


def test_a_missing_scope_is_named(router_of_scopes: RouterUnderTest) -> None:
    """The error says what is missing and what the key has, and OpenAI's client knows it."""
    answer = call(router_of_scopes, *EMBED, headers={"authorization": f"Bearer {key('usage')}"})
    error = answer.error
    assert (error["type"], error["code"]) == ("invalid_request_error", "insufficient_scope")
    assert "Missing scope: embed; the key has: usage" in error["message"]
    client = OpenAI(base_url=f"{router_of_scopes.url}/v1", api_key=key("usage"), max_retries=0)
    with client, pytest.raises(PermissionDeniedError):
        client.embeddings.create(model="plain", input="a")


def test_grpc_asks_for_the_scope_too(router_of_scopes: RouterUnderTest) -> None:
    """PERMISSION_DENIED, with the same words."""
    client = triton.InferenceServerClient(router_of_scopes.grpc_host)
    try:
        inputs = text_inputs(triton, ["a"], (1,))
        client.infer("plain", inputs, headers={"authorization": f"Bearer {key('embed')}"})
        with pytest.raises(InferenceServerException, match="Missing scope: embed") as caught:
            client.infer("plain", inputs, headers={"authorization": f"Bearer {key('admin')}"})
        assert caught.value.status() == "StatusCode.PERMISSION_DENIED"
    finally:
        client.close()


def test_kserve_errors_keep_their_shape(router_of_scopes: RouterUnderTest) -> None:
    """A 403 of the KServe door is a plain message, as all its errors are."""
    answer = call(router_of_scopes, *INFER, headers={"authorization": f"Bearer {key('admin')}"})
    assert set(json.loads(answer.body)) == {"error"}
