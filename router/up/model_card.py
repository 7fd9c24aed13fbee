"""What a model says about itself, as the backend reads it."""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from router.up.errors import UpError
from router.up.processes import run_program


class ModelCard(msgspec.Struct, frozen=True):
    """The part of the backend's description that the router needs; lengths in tokens."""

    dimensions: int
    max_tokens: int
    prompts: dict[str, str]
    matryoshka: tuple[int, int] | None = None
    default_instruction: str | None = None
    lowercases: bool = False


async def read_card(backend: Path, weights: Path, environment: Mapping[str, str]) -> ModelCard:
    """Ask the backend's own reader, so that router and engine cannot differ; UpError."""
    command = [sys.executable, str(backend / "describe.py"), str(weights)]
    finished = await run_program(command, environment)
    if finished.status != 0:
        raise UpError(f"the model in {weights} cannot be served: {finished.last_line()}")
    return msgspec.json.decode(finished.stdout, type=ModelCard)
