"""Writes the router's configuration for one model on the Triton server of this machine."""

from pathlib import Path

import yaml

from router.up.local_triton import LocalModel

CONFIG_NAME = "embedway.yaml"
"""The file's name in the folder of a run."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def write_router_config(
    path: Path,
    server: dict[str, str | int],
    model: LocalModel,
    triton_port: int,
    key_sha256: str,
    collector_url: str | None = None,
) -> None:
    """Write YAML with one space, target, route and key; `triton_port` is Triton's gRPC port.

    Nobody but this machine's user can reach a router that listens on loopback: there the key may
    also ask how a request went and how targets do.

    Where there is a collector, every request is traced to it: on a machine for trying things
    out, what was just done is what is looked for.
    """
    name, card = model.chosen.name, model.card
    space = {
        "model": model.chosen.source,
        "revision": model.chosen.revision,
        "dimensions": card.dimensions,
        "matryoshka": list(card.matryoshka) if card.matryoshka else None,
        "max_tokens": card.max_tokens,
        "tokenizer": str(model.weights),
        "lowercase": card.lowercases,
        "prompts": card.prompts,
        "default_instruction": card.default_instruction,
    }
    target = {
        "space": name,
        "upstream": "triton",
        "url": f"grpc://127.0.0.1:{triton_port}",
        "model": model.chosen.triton_name,
    }
    telemetry: dict[str, object] = {}
    if collector_url is not None:
        telemetry = {"otlp": {"endpoint": collector_url}, "traces": {"sample_ratio": 1.0}}
    key: dict[str, object] = {"name": "first", "sha256": key_sha256}
    if server["host"] in _LOOPBACK:
        key["scopes"] = ["embed", "usage", "admin"]
    settings = {
        "server": server,
        "spaces": {name: space},
        "targets": {"local": target},
        # Beside this file, and gone with it: a trial leaves nothing where it was started.
        "store": {
            "url": f"sqlite:///{path.with_name('embedway.db')}",
            "state": str(path.with_name("state")),
        },
        "telemetry": telemetry,
        "routes": {name: {"targets": ["local"]}},
        "tenants": {"default": {"keys": [key]}},
    }
    path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), "utf-8")
