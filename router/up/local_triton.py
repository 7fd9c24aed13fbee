"""Makes a Triton server for models on this machine, ready to start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.domain.clock import Clock
from router.up.assets import Assets
from router.up.backend_directory import assemble_backends
from router.up.model_card import ModelCard
from router.up.model_config import write_model
from router.up.models import ChosenModel
from router.up.triton_files import TritonFiles
from router.up.triton_process import TritonProcess


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A chosen model with its weights on this machine and what they say about themselves."""

    chosen: ChosenModel
    weights: Path
    card: ModelCard


async def make_triton(
    folder: Path,
    files: TritonFiles,
    assets: Assets,
    models: Sequence[LocalModel],
    environment: Mapping[str, str],
    clock: Clock,
) -> TritonProcess:
    """Write backends and models into `folder` (a LivingFolder's); UpError in one sentence."""
    backends, repository = folder / "backends", folder / "models"
    await assemble_backends(backends, files, assets, environment)
    for model in models:
        template, place = model.chosen.template, repository / model.chosen.triton_name
        write_model(template, place, model.weights, model.card)
    return TritonProcess(files, folder, repository, backends, environment, clock)
