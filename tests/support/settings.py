"""Configurations of routers under test, as the YAML that people write."""

from pathlib import Path
from typing import Any

import yaml

from router.domain.keys import fingerprint

KEY = "ew-key-of-the-tests-0123456789"
SHY_KEY = "ew-key-of-a-tenant-that-is-not-remembered"
# Most tests ask for everything with one key; tests/api/test_scopes.py has one for each scope.
SCOPES = ["embed", "batch", "usage", "admin"]
MAX_TOKENS = 64
PROMPTS = {
    "query": "Instruct: {instruction}\nQuery: {text}",
    "clustering": "Cluster: {text}",
}


def server(**changes: Any) -> dict[str, Any]:
    return {"port": 0, "grpc_port": 0, "max_body_bytes": 1_000_000} | changes


def fake_settings(minilm: Path, **changes: Any) -> str:
    """Fake targets: `plain` as trained, `wide` with Matryoshka and prompts, and `small`."""
    plain = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "dimensions": 384,
        "max_tokens": MAX_TOKENS,
        "tokenizer": str(minilm),
    }
    wide = plain | {
        "dimensions": 256,
        "matryoshka": [32, 256],
        "prompts": PROMPTS,
        "default_instruction": "Find the passage",
    }
    return _text(
        server=server(**changes),
        spaces={"plain-space": plain, "wide-space": wide},
        targets={
            "plain-target": {"space": "plain-space", "upstream": "fake"},
            "wide-target": {"space": "wide-space", "upstream": "fake"},
            "small-target": {
                "space": "plain-space",
                "upstream": "fake",
                "max_in_flight_requests": 1,
            },
        },
        routes={
            "plain": {"targets": ["plain-target"]},
            "org/wide": {"targets": ["wide-target"]},
            "small": {"targets": ["small-target"]},
        },
    )


def triton_settings(minilm: Path, grpc_port: int, **changes: Any) -> str:
    """The demo model on a real Triton: packed calls on `minilm`, single ones on `unpacked`."""
    target = {
        "space": "minilm-space",
        "upstream": "triton",
        "url": f"grpc://127.0.0.1:{grpc_port}",
        "model": "all_minilm_l6_v2",
    }
    space = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "dimensions": 384,
        "max_tokens": 256,
        "tokenizer": str(minilm),
    }
    return _text(
        server=server(**changes),
        spaces={"minilm-space": space},
        targets={"packed-target": target, "unpacked-target": target | {"max_call_tokens": 0}},
        routes={
            "minilm": {"targets": ["packed-target"]},
            "unpacked": {"targets": ["unpacked-target"]},
        },
    )


def provider_settings(minilm: Path, urls: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Providers by kind and address, all of one space, on the route `mixed`; as it would be run."""
    targets = {
        kind: {
            "space": "mixed-space",
            "upstream": kind if kind in ("cohere", "voyage") else "openai",
            "profile": kind,
            "url": url,
            "model": "some-model",
            "api_key": {"env": "PROVIDER_KEY"},
        }
        for kind, url in urls.items()
    }
    space = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "dimensions": 384,
        "max_tokens": MAX_TOKENS,
        "tokenizer": str(minilm),
        "matryoshka": [32, 384],
    }
    tenants = {
        "testers": {"keys": [{"name": "test-key", "sha256": fingerprint(KEY)}]},
        "shy": {"keys": [{"name": "shy-key", "sha256": fingerprint(SHY_KEY)}], "cache": False},
    }
    return {
        "server": server(),
        "spaces": {"mixed-space": space},
        "targets": targets,
        "routes": {"mixed": {"targets": list(urls)}},
        "tenants": tenants,
    } | changes


def _text(**sections: Any) -> str:
    """The file; nothing is remembered or verified: a test sees the calls of its own requests."""
    tenants = {
        "testers": {"keys": [{"name": "test-key", "sha256": fingerprint(KEY), "scopes": SCOPES}]}
    }
    for space in sections["spaces"].values():
        space.setdefault("verification", {"enabled": False})
    cache = {"max_bytes": 0, "share_in_flight": False}
    return yaml.safe_dump({"cache": cache, "tenants": tenants, **sections}, sort_keys=False)
