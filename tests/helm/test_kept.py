"""What is kept from one release to the next: immutable fields, pods, keys."""

import base64
import re
from typing import Any

import pytest

from router.config.load import parse_settings
from tests.support import charts

IMMUTABLE = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")


@pytest.mark.parametrize("changed", [
    {"commonLabels": {"a": "b"}, "image": {"tag": "9"}},
    {"router": {"podLabels": {"a": "b"}, "configuration": {"server": {"max_inputs": 1}}}},
    {"models": {"qwen3-embedding-4b": {"replicas": 3, "timeoutSeconds": 3}}},
], ids=["labels", "settings", "replicas"])  # fmt: skip
def test_an_upgrade_changes_nothing_that_may_not_change(changed: dict[str, Any]) -> None:
    """What Kubernetes never lets change follows from no value that people change."""
    values = charts.scenario("gpu-static")
    upgraded = charts.render(charts.merged(values, changed)).of("StatefulSet")
    after = {one["metadata"]["name"]: one["spec"] for one in upgraded}
    for one in charts.render(values).of("StatefulSet"):
        for field in IMMUTABLE:
            assert after[one["metadata"]["name"]].get(field) == one["spec"].get(field)


def test_routes_change_without_a_restart() -> None:
    """Routers read models and tenants from the mounted file; only their base restarts them."""
    values = charts.scenario("gpu-static")

    def pods(changed: dict[str, Any]) -> Any:
        whole = charts.render(charts.merged(values, changed))
        return whole.get("StatefulSet", "router")["spec"]["template"]

    assert pods({"models": {"qwen3-embedding-4b": {"timeoutSeconds": 3}}}) == pods({})
    checksum = "checksum/base-configuration"
    changed = pods({"router": {"configuration": {"server": {"max_inputs": 1}}}})
    assert (
        changed["metadata"]["annotations"][checksum]
        != pods({})["metadata"]["annotations"][checksum]
    )


def test_the_made_key_is_strong_and_nowhere_else() -> None:
    """Each installation has another key of 48 random characters, in the Secret and nothing else."""
    keys = set()
    for _ in range(2):
        rendered = charts.render({})
        [secret] = rendered.of("Secret")
        key = base64.b64decode(secret["data"]["api-key"]).decode()
        assert re.fullmatch(r"ew-[A-Za-z0-9]{48}", key)
        others = [one for one in rendered.objects if one is not secret]
        assert key not in repr(others)
        assert key not in rendered.notes
        keys.add(key)
    assert len(keys) == 2


def test_an_existing_key_is_used_and_none_is_made() -> None:
    """With a Secret of people's own the chart makes none, and routers and the test read theirs."""
    rendered = charts.render({"key": {"existingSecret": "ours", "existingSecretKey": "k"},
                              "operator": {"enabled": False}})  # fmt: skip
    assert rendered.of("Secret") == []
    [test] = rendered.of("Pod")
    [shown] = [
        one for one in test["spec"]["containers"][0]["env"] if one["name"] == "EMBEDWAY_API_KEY"
    ]
    assert shown["valueFrom"] == {"secretKeyRef": {"name": "ours", "key": "k"}}
    text = rendered.get("ConfigMap", "router-config")["data"]["embedway.yaml"]
    [key] = parse_settings(text, "chart").tenants["default"].keys
    assert str(key.file) == "/etc/embedway/secrets/ours.k"
