"""Reads and rewrites a model's config.pbtxt for the server that runs here."""

import shutil
import struct
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from router.up.errors import UpError
from router.up.model_card import ModelCard

_LENGTHS_FILE = "lengths"
# What the published model is known to answer; the backend holds the weights against it.
_GOLDEN_FILE = "golden.json"


def read_config(folder: Path) -> model_config_pb2.ModelConfig:
    """The configuration in a model's folder; UpError where it is not one."""
    path = folder / "config.pbtxt"
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UpError(f"{path} is not a model configuration: {error}") from error


def parameter(config: model_config_pb2.ModelConfig, name: str) -> str | None:
    """A parameter's text; None where it is missing or empty."""
    return config.parameters[name].string_value or None if name in config.parameters else None


def write_model(
    template: Path, folder: Path, weights: Path, card: ModelCard, *, takes_text: bool = True
) -> None:
    """Write a template's model into `folder`, named like it, for the model in `weights`.

    Without `takes_text` the server refuses TEXT by itself, and takes ids alone.
    """
    config = read_config(template)
    if not takes_text:
        kept = [tensor for tensor in config.input if tensor.name != "TEXT"]
        del config.input[:]
        config.input.extend(kept)
    config.name = folder.name
    # An absolute folder: no hub is asked, and the server's working directory has no meaning.
    config.parameters["model"].string_value = str(weights.resolve())
    config.parameters["revision"].string_value = ""
    (folder / "1").mkdir(parents=True)
    if (template / "warmup").is_dir():
        shutil.copytree(template / "warmup", folder / "warmup")
    # A template that serves another model's weights says nothing about their vectors.
    if folder.name == template.name and (template / _GOLDEN_FILE).is_file():
        shutil.copy(template / _GOLDEN_FILE, folder)
    for output in config.output:
        if output.name == "EMBEDDING":
            output.dims[-1] = card.dimensions
    for warmup in config.model_warmup:
        _fit_warmup(warmup, folder / "warmup" / _LENGTHS_FILE, card.max_tokens)
    text = text_format.MessageToString(config)
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")


def _fit_warmup(warmup: model_config_pb2.ModelWarmup, lengths_file: Path, max_tokens: int) -> None:
    """Shorten sequences that the model would refuse, in the file and in the stated shape."""
    if "INPUT_IDS" not in warmup.inputs or not lengths_file.is_file():
        return
    lengths = [length for (length,) in struct.iter_unpack("<i", lengths_file.read_bytes())]
    fitting = [min(length, max_tokens) for length in lengths]
    lengths_file.write_bytes(struct.pack(f"<{len(fitting)}i", *fitting))
    warmup.inputs["INPUT_IDS"].dims[-1] = sum(fitting)
