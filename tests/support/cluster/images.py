"""What the programs of our images are on this machine, where there are no images."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from router.up.assets import find_assets
from router.up.backend_directory import assemble_backends
from router.up.cache import cache_folder
from router.up.local_triton import LocalModel
from router.up.model_card import read_card
from router.up.model_config import write_model
from router.up.models import ChosenModel
from router.up.triton_files import TritonFiles
from router.up.wheels import TRITON, fetch, numpy_for_stub

_REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Program:
    """A program that a container's command starts with."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    mounts: dict[str, Path] = field(default_factory=dict)
    """What the image holds at that place: path inside → folder on this machine."""
    workplace: Path = Path("/")


def router_program() -> Program:
    """`embedway`, as the router's image starts it."""
    environment = {"PYTHONPATH": str(_REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    return Program((sys.executable, "-m", "router"), environment)


def operator_program(kubeconfig: Path) -> Program:
    """The operator's entrypoint; it finds the API server by `kubeconfig`.

    A real kubelet would mount the token of the Pod's ServiceAccount, for a server at port 443.
    """
    environment = {
        "PYTHONPATH": f"{_REPOSITORY}:{_REPOSITORY / 'deploy' / 'operator'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "KUBECONFIG": "/kubeconfig",
    }
    command = (sys.executable, "-m", "embedway_operator")
    return Program(command, environment, {"/kubeconfig": kubeconfig})


async def triton_program(folder: Path, weights: Path, name: str) -> Program:
    """`tritonserver` with the model of that name and our backends, as Triton's image holds them."""
    environment, cache = dict(os.environ), cache_folder(os.environ)
    files, assets = TritonFiles(await fetch(TRITON, cache, environment)), find_assets()
    backends, models = folder / "backends", folder / "models"
    await assemble_backends(backends, files, assets, environment)
    chosen = ChosenModel(name, name, assets.models / name, str(weights))
    model = LocalModel(chosen, weights, await read_card(assets.backend, weights, environment))
    numpy = numpy_for_stub()
    write_model(chosen.template, models / name, weights, model.card, takes_text=numpy is not None)
    workplace = folder if numpy is None else await fetch(numpy, cache, environment)
    return Program(
        (str(files.server),),
        files.environment({"PATH": "/usr/bin:/bin"}),
        {"/models": models, "/opt/embedway/backends": backends, str(folder): folder},
        workplace,
    )
