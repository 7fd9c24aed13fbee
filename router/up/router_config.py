"""Writes the router's configuration for one model on the Triton server of this machine."""

from pathlib import Path

import yaml

from router.up.model_card import ModelCard
from router.up.models import ChosenModel


def write_router_config(
    path: Path,
    *,
    server: dict[str, str | int],
    model: ChosenModel,
    card: ModelCard,
    weights: Path,
    triton_port: int,
    key_sha256: str,
) -> None:
    """Write YAML with one space, target, route and key; `triton_port` is Triton's gRPC port."""
    space = {
        "model": model.source,
        "revision": model.revision,
        "dimensions": card.dimensions,
        "matryoshka": list(card.matryoshka) if card.matryoshka else None,
        "max_tokens": card.max_tokens,
        "tokenizer": str(weights),
        "prompts": card.prompts,
        "default_instruction": card.default_instruction,
    }
    target = {
        "space": model.name,
        "upstream": "triton",
        "url": f"grpc://127.0.0.1:{triton_port}",
        "model": model.triton_name,
    }
    settings = {
        "server": server,
        "spaces": {model.name: space},
        "targets": {"local": target},
        "routes": {model.name: {"targets": ["local"]}},
        "tenants": {"default": {"keys": [{"name": "first", "sha256": key_sha256}]}},
    }
    path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), "utf-8")
