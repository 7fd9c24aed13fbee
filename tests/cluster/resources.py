"""Resources as people write them for kubectl."""

from typing import Any

from tests.support.cluster.installation import MODEL


def resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "embedway.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def target(name: str, kind: str = "EmbeddingProvider") -> dict[str, str]:
    return {"kind": kind, "name": name}


def provider(name: str, space: str, secret: str = "provider-key", **more: Any) -> dict[str, Any]:
    """A provider that nobody runs: what is asserted is what becomes of the resource."""
    spec = {
        "space": space,
        "upstream": "openai",
        "profile": "generic",
        "url": "http://127.0.0.1:9",
        "model": "some-model",
        "apiKeySecret": {"name": secret},
        "priceUsdPerMillionTokens": 1,
    }
    return resource("EmbeddingProvider", name, **spec | more)


def secret(name: str = "provider-key", value: str = "a-key-of-a-provider") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"key": value},
    }


def route(name: str, space: str = MODEL, *targets: dict[str, str], **more: Any) -> dict[str, Any]:
    wanted = list(targets) or [target(MODEL, "EmbeddingModel")]
    return resource("EmbeddingRoute", name, space=space, targets=wanted, **more)
