"""A router, a real Triton and a provider, all told to trace, in front of a real collector."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.domain.keys import fingerprint
from router.up import triton_process
from router.up.triton_files import server_options
from tests.support import triton as tritons
from tests.support.settings import KEY, SCOPES, server

POOR_KEY = "ew-key-of-a-tenant-without-budget"
PROVIDER_KEY_NAME = "PROVIDER_KEY"


@contextlib.asynccontextmanager
async def traced_triton(minilm: Path, collector: str) -> AsyncIterator[tritons.SharedTriton]:
    """A real Triton that continues what traces it is told of, and begins none."""
    settings = (
        "mode=opentelemetry", "rate=0", "level=TIMESTAMPS",
        f"opentelemetry,url={collector}/v1/traces",
        "opentelemetry,resource=service.name=triton",
        "opentelemetry,bsp_schedule_delay=100",
    )  # fmt: skip

    def options(*arguments: Any) -> list[str]:
        return [*server_options(*arguments), *(f"--trace-config={one}" for one in settings)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_process, "server_options", options)
        weights = {tritons.MINILM_NAME: (minilm, tritons.MINILM_NAME)}
        async with tritons.running_triton(weights) as running:
            yield running


def traced_settings(
    minilm: Path, grpc_port: int, provider_url: str, collector: str, **traces: Any
) -> str:
    """Routes `minilm` (Triton), `fallback` (a provider, then Triton) and `provider`."""
    space = {
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "dimensions": 384,
        "max_tokens": 256,
        "tokenizer": str(minilm),
        "verification": {"enabled": False},
    }
    targets = {
        "local": {
            "space": "minilm-space",
            "upstream": "triton",
            "url": f"grpc://127.0.0.1:{grpc_port}",
            "model": tritons.MINILM_NAME,
            "price_usd_per_million_tokens": 2,
        },
        "cloud": {
            "space": "minilm-space",
            "upstream": "openai",
            "url": provider_url,
            "model": "some-model",
            "api_key": {"env": PROVIDER_KEY_NAME},
            "canary": False,
            "price_usd_per_million_tokens": 5,
        },
    }
    keys = [{"name": "test-key", "sha256": fingerprint(KEY), "scopes": SCOPES}]
    poor = [{"name": "poor-key", "sha256": fingerprint(POOR_KEY)}]
    nothing = [{"unit": "requests", "limit": 0, "window": "total"}]
    return yaml.safe_dump(
        {
            "server": server(),
            "spaces": {"minilm-space": space},
            "targets": targets,
            "routes": {
                "minilm": {"targets": ["local"]},
                "fallback": {"targets": ["cloud", "local"]},
                "provider": {"targets": ["cloud"]},
            },
            "tenants": {"testers": {"keys": keys}, "poor": {"keys": poor, "quotas": nothing}},
            "telemetry": {
                "otlp": {"endpoint": collector},
                "traces": {"sample_ratio": 0, "interval_s": 0.1} | traces,
            },
        },
        sort_keys=False,
    )


def parent(number: int, *, sampled: bool = True) -> tuple[str, str, dict[str, str]]:
    """A caller's trace id and span id, and the headers that name them."""
    trace_id, span_id = f"{number:032x}", f"{number:016x}"
    headers = {"traceparent": f"00-{trace_id}-{span_id}-{int(sampled):02x}"}
    return trace_id, span_id, headers


def names(spans: Iterator[Any]) -> list[str]:
    return sorted(span.name for span in spans)
