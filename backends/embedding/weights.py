"""Find a model's folder, and load its transformer from the published safetensors."""

from pathlib import Path
from typing import Any

from faults import ModelLoadError
from model_card import ModelCard
from settings import Settings

# Folders of a model repository hold the same weights in several formats: take one.
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
_UNWANTED = ("onnx/*", "openvino/*")


def find_model_folder(settings: Settings, *, may_download: bool = True) -> Path | None:
    """Return the folder of the weights: the given one, else the local cache's, else a download.

    None only where the model would have to be downloaded and may not be. Raises ModelLoadError
    where there is no such model.
    """
    folder = Path(settings.model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or settings.model.startswith((".", "~")):
        raise ModelLoadError(f"the model folder {folder} does not exist")
    return _find_in_cache(settings) or (_download(settings) if may_download else None)


def _find_in_cache(settings: Settings) -> Path | None:
    # Imported late: a model that stands in a folder needs no hub.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(settings.model, revision=settings.revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ModelLoadError(
            f"the model {settings.model!r} is neither a folder nor a Hugging Face id"
        ) from error
    # An interrupted download leaves a folder with some of the files.
    folder = Path(found)
    is_complete = (folder / "config.json").is_file() and any(folder.rglob("*.safetensors"))
    return folder if is_complete else None


def _download(settings: Settings) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            settings.model,
            revision=settings.revision,
            allow_patterns=list(_WANTED),
            ignore_patterns=list(_UNWANTED),
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        revision = settings.revision or "its newest revision"
        raise ModelLoadError(
            f"the model {settings.model!r} at {revision} is not in the local cache and could not "
            f"be downloaded: {type(error).__name__}"
        ) from error
    return Path(folder)


def load_transformer(card: ModelCard, settings: Settings) -> Any:  # noqa: ANN401
    """Load the transformer, ready to run, in the settings' dtype and on their device.

    Only safetensors are read, never pickles, and no code from the model's folder is run.
    Raises ModelLoadError with one sentence.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = card.chain.transformer_folder
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        loader = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
        model = loader.from_pretrained(
            folder,
            config=config,
            dtype=settings.torch_dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelLoadError(f"the weights in {folder} cannot be loaded: {reason}") from error
    # No sequence is ever continued, so keys and values are never kept.
    model.config.use_cache = False
    return model.to(settings.device).eval().requires_grad_(False)
