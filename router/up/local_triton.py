"""Makes a Triton server for models on this machine, ready to start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.domain.clock import Clock
from router.up.assets import Assets
from router.up.backend_directory import assemble_backends
from router.up.cache import cache_folder
from router.up.model_card import ModelCard
from router.up.model_config import write_model
from router.up.models import ChosenModel
from router.up.triton_files import TritonFiles
from router.up.triton_process import TritonProcess
from router.up.wheels import fetch, numpy_for_stub


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
    trace_url: str | None = None,
) -> TritonProcess:
    """Write backends and models into `folder` (a LivingFolder's); UpError in one sentence.

    Fetches the NumPy of the server's stub where it is not in the cache yet. `trace_url` is where
    the server exports its spans to.
    """
    backends, repository = folder / "backends", folder / "models"
    await assemble_backends(backends, files, assets, environment)
    numpy = numpy_for_stub()
    for model in models:
        template, place = model.chosen.template, repository / model.chosen.triton_name
        write_model(template, place, model.weights, model.card, takes_text=numpy is not None)
    # The stub looks for modules in its working directory first; a folder of ours that holds no
    # modules keeps strangers' out.
    workplace = folder
    if numpy is not None:
        workplace = await fetch(numpy, cache_folder(environment), environment)
    return TritonProcess(
        files, folder, repository, backends, workplace, environment, clock, trace_url
    )
