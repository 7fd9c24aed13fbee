"""Triton's entry to the embedding backend: glue between its requests and an instance.

Tensors of every model: INPUT_IDS INT32 [1, total] with LENGTHS INT32 [1, n], several sequences
packed into one request; or TEXT BYTES [1, n]. Answer: EMBEDDING FP32 [1, n, dimensions], rows of
unit length. The caller's faults are answered INVALID_ARG, ours INTERNAL, a cancelled request
CANCELLED, and everything UNAVAILABLE while the model answers its canaries wrongly.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import triton_python_backend_utils as pb_utils

import faults
from model_card import ModelCard, read_model_card
from settings import read_settings
from weights import find_model_folder

if TYPE_CHECKING:
    from desk import Desk

_INPUTS = (("INPUT_IDS", "TYPE_INT32"), ("LENGTHS", "TYPE_INT32"), ("TEXT", "TYPE_STRING"))


class TritonPythonModel:
    """One instance of one model. Triton calls it from one thread."""

    _desk: "Desk"

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:  # noqa: ANN401
        """Fill in tensors that config.pbtxt leaves out, and check those that it states.

        Runs in a process of its own before `initialize`, so it reads the card and no weights.
        """
        config = auto_complete_model_config
        for name, data_type in _INPUTS:
            config.add_input({"name": name, "data_type": data_type, "dims": [-1], "optional": True})
        settings = _explained(read_settings, config.as_dict())
        folder = _explained(find_model_folder, settings, may_download=False)
        if folder is not None:
            card = _explained(read_model_card, folder, settings.model)
            dimensions = [-1, card.chain.dimensions]
            config.add_output({"name": "EMBEDDING", "data_type": "TYPE_FP32", "dims": dimensions})
        return config

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model. A model that cannot be served is one sentence in Triton's log."""
        # Here and not above: auto-completion needs neither, and torch takes a second to import.
        from desk import Desk
        from instance import Instance

        config = json.loads(args["model_config"])
        settings = _explained(
            read_settings, config, args["model_instance_kind"], args["model_instance_device_id"]
        )
        folder = _explained(find_model_folder, settings)
        card = _explained(read_model_card, folder, settings.model)
        _explained(_check_width, config, card)
        place, log = Path(args["model_repository"]), pb_utils.Logger.log_info
        self._desk = Desk(_explained(Instance, card, settings, place, log))

    def execute(self, requests: Sequence[Any]) -> None:
        """Take a batch in; each request is answered on its own, later, by its sender."""
        self._desk.take(requests)

    def is_ready(self) -> bool:
        """Tell whether the canaries are right (asked by Triton's releases of 2026 and later)."""
        return self._desk.instance.fault is None

    def finalize(self) -> None:
        """Answer what was taken in, then let go."""
        self._desk.instance.close()


def _check_width(config: Mapping[str, Any], card: ModelCard) -> None:
    """Refuse a model whose width is not the declared one: its vectors are another space's."""
    declared = [output["dims"][-1] for output in config["output"] if output["name"] == "EMBEDDING"]
    if declared not in ([], [-1], [card.chain.dimensions]):
        raise faults.ModelLoadError(
            f"EMBEDDING is declared with {declared[0]} dimensions, and the model "
            f"has {card.chain.dimensions}"
        )


def _explained(call: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
    """Call, and turn a load error into one that Triton shows without a stack trace."""
    try:
        return call(*arguments, **options)
    except faults.ModelLoadError as error:
        raise pb_utils.TritonModelException(str(error)) from None
