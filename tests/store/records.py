"""Usage records as the spool holds them."""

from dataclasses import astuple

import orjson

from router.domain.usage import OK, Charge, UsageRecord


def record(name: str, *charges: Charge, **changes: object) -> bytes:
    """A record of 3 tokens for 60 nano-USD at 2023-11-14 22:13:20 UTC."""
    fields = {
        "record": name,
        "request_id": f"request-{name}",
        "time_s": 1_700_000_000.5,
        "tenant": "acme",
        "key_name": "first",
        "route": "r",
        "space": "s",
        "inputs": 1,
        "target": "t",
        "status": OK,
        "tokens": 3,
        "cost_nano_usd": 60,
        "cached_tokens": 0,
        "attempts": 1,
        "latency_us": 1500,
        "trace_id": "",
    } | changes
    return orjson.dumps([*astuple(UsageRecord(**fields)), [astuple(charge) for charge in charges]])  # type: ignore[arg-type]
