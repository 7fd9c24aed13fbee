"""Triton's entry to the embedding backend: glue between its requests and the engine.

Tensors of every model: INPUT_IDS INT32 [1, total] with LENGTHS INT32 [1, n], several sequences
packed into one request; or TEXT BYTES [1, n]. Answer: EMBEDDING FP32 [1, n, dimensions], rows of
unit length. The caller's faults are answered INVALID_ARG, ours INTERNAL, a cancelled request
CANCELLED.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

import faults
import jobs
import requests_codec
from model_card import ModelCard, read_model_card
from settings import read_settings
from weights import find_model_folder

if TYPE_CHECKING:
    from engine import Engine

_INPUTS = (("INPUT_IDS", "TYPE_INT32"), ("LENGTHS", "TYPE_INT32"), ("TEXT", "TYPE_STRING"))
# Names in pb_utils.TritonError, which is not there yet when this module is imported.
_CODES = {faults.BadRequestError: "INVALID_ARG", faults.RequestCancelledError: "CANCELLED"}


class TritonPythonModel:
    """One instance of one model. Triton calls it from one thread."""

    _engine: "Engine"

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
        from engine import Engine
        from text_tokenizer import TextTokenizer

        config = json.loads(args["model_config"])
        settings = _explained(
            read_settings, config, args["model_instance_kind"], args["model_instance_device_id"]
        )
        folder = _explained(find_model_folder, settings)
        self._card = _explained(read_model_card, folder, settings.model)
        _explained(_check_width, config, self._card)
        self._tokenizer = _explained(TextTokenizer, self._card)
        self._engine = _explained(Engine, self._card, settings)
        self._max_batch_tokens = settings.max_batch_tokens
        _warn_of_text()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer every request of a batch, each with its vectors or its own error."""
        admitted = [self._admit(request) for request in requests]
        valid = [job for job in admitted if isinstance(job, jobs.Job)]
        jobs.run_jobs(valid, self._engine.embed, self._max_batch_tokens)
        return [_answer(job) for job in admitted]

    def _admit(self, request: Any) -> jobs.Job | faults.BackendError:  # noqa: ANN401
        ids, lengths, texts = (_array(request, name) for name, _ in _INPUTS)
        try:
            if texts is not None and ids is None and lengths is None:
                sequences = requests_codec.decode_texts(texts, self._card, self._tokenizer)
                return jobs.Job(sequences, texts.shape, request.is_cancelled)
            if texts is None and ids is not None and lengths is not None:
                sequences = requests_codec.decode_ids(ids, lengths, self._card)
                return jobs.Job(sequences, lengths.shape, request.is_cancelled)
        except faults.BadRequestError as fault:
            return fault
        return faults.BadRequestError("give either INPUT_IDS and LENGTHS, or TEXT alone")


def _array(request: Any, name: str) -> Any:  # noqa: ANN401
    """Return an input as an array of INT32 or of bytes objects, None where it was left out."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None or name == "TEXT":
        return None if tensor is None else tensor.as_numpy()
    # Not as_numpy(): the stub of Triton 24.10 repeats the first element where NumPy is 2.x.
    return np.from_dlpack(tensor)


def _check_width(config: Mapping[str, Any], card: ModelCard) -> None:
    """Refuse a model whose width is not the declared one: its vectors are another space's."""
    declared = [output["dims"][-1] for output in config["output"] if output["name"] == "EMBEDDING"]
    if declared not in ([], [-1], [card.chain.dimensions]):
        raise faults.ModelLoadError(
            f"EMBEDDING is declared with {declared[0]} dimensions, and the model "
            f"has {card.chain.dimensions}"
        )


def _warn_of_text() -> None:
    """Say in the log where this server's stub would misread TEXT, and end with it.

    Triton 24.10's stub was built for NumPy 1.x: it misreads arrays under NumPy 2.x, and strings
    only ever come as such an array. It imports the NumPy that stands in its working directory.
    """
    import torch

    probe = pb_utils.Tensor.from_dlpack("PROBE", torch.tensor([1, 2], dtype=torch.int32))
    if probe.as_numpy().tolist() != [1, 2]:
        pb_utils.Logger.log_warn(
            f"NumPy {np.__version__} and this Triton do not fit: a TEXT request would end this "
            "model for good (INPUT_IDS are safe). Start Triton in a folder that holds NumPy 1.26"
        )


def _answer(job: jobs.Job | faults.BackendError) -> Any:  # noqa: ANN401
    import torch

    try:
        if isinstance(job, faults.BackendError):
            raise job
        # Not Tensor(name, array), for the same reason as in _array; and not NumPy's own DLPack,
        # whose capsules the stub does not give back as NumPy expects.
        vectors = torch.from_numpy(job.vectors())
        tensor = pb_utils.Tensor.from_dlpack("EMBEDDING", vectors)
    except faults.BackendError as fault:
        code = getattr(pb_utils.TritonError, _CODES.get(type(fault), "INTERNAL"))
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(fault), code))
    return pb_utils.InferenceResponse(output_tensors=[tensor])


def _explained(call: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
    """Call, and turn a load error into one that Triton shows without a stack trace."""
    try:
        return call(*arguments, **options)
    except faults.ModelLoadError as error:
        raise pb_utils.TritonModelException(str(error)) from None
