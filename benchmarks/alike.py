"""Models that give the same vectors on every processor, for those who compare them closely."""

from pathlib import Path

from google.protobuf import text_format

from router.up.model_config import read_config


def compute_alike_anywhere(folder: Path) -> None:
    """In float32: `auto` is bfloat16 on some processors, and rounds otherwise in other company.

    `folder` is the model's, in the repository of a Triton that has not been started yet.
    """
    config = read_config(folder)
    config.parameters["dtype"].string_value = "float32"
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
