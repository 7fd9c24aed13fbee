"""deploy/compose as Docker's own compose program reads it."""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support.parts import docker_compose

FOLDER = Path(__file__).parents[2] / "deploy/compose"
CPU = ("compose.yaml",)
GPU = ("compose.yaml", "compose.gpu.yaml")
CONFIGURATION = "/etc/embedway/config/embedway.yaml"


@functools.cache
def stack(files: tuple[str, ...]) -> dict[str, Any]:
    """The merged model, as `docker compose up` would take it."""
    chosen = [option for file in files for option in ("-f", str(FOLDER / file))]
    done = subprocess.run(
        [docker_compose(), *chosen, "--profile", "*", "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    merged: dict[str, Any] = json.loads(done.stdout)
    return merged


def mounts(files: tuple[str, ...], name: str) -> dict[str, Path]:
    """Host path by path in a service's container: of bound volumes and of configurations."""
    merged = stack(files)
    service = merged["services"][name]
    found = {one["target"]: one["source"] for one in service.get("volumes", ())
             if one["type"] == "bind"}  # fmt: skip
    for one in service.get("configs", ()):
        found[one["target"]] = merged["configs"][one["source"]]["file"]
    return {target: Path(source) for target, source in found.items()}
