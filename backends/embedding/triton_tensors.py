"""Triton's tensors to arrays and back, in the one way that its Python stub gets right.

Triton 24.10's stub was built for NumPy 1.x and misreads arrays under NumPy 2.x, so numbers come and
go by DLPack.
"""

from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from faults import BackendError, BadRequestError, NotReadyError, RequestCancelledError
from jobs import Vectors

# Names in pb_utils.TritonError; every other fault of ours is INTERNAL.
_CODES = {
    BadRequestError: "INVALID_ARG",
    RequestCancelledError: "CANCELLED",
    NotReadyError: "UNAVAILABLE",
}


def array_of(request: Any, name: str) -> Any:  # noqa: ANN401
    """Return an input as an array of INT32 or of bytes objects, None where it was left out."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None or name == "TEXT":
        return None if tensor is None else tensor.as_numpy()
    # Copied: the request's memory goes back to the server before its sequences have run.
    return np.from_dlpack(tensor).copy()


def answer_of(vectors: Vectors) -> Any:  # noqa: ANN401
    """Return the response that carries vectors (…, n, dimensions) float32."""
    # Not Tensor(name, array), for the reason above; and not NumPy's own DLPack, whose capsules the
    # stub does not give back as NumPy expects.
    tensor = pb_utils.Tensor.from_dlpack("EMBEDDING", torch.from_numpy(vectors))
    return pb_utils.InferenceResponse(output_tensors=[tensor])


def refusal_of(fault: BackendError) -> Any:  # noqa: ANN401
    """Return the response that says why there are no vectors."""
    code = getattr(pb_utils.TritonError, _CODES.get(type(fault), "INTERNAL"))
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(fault), code))


def warn_of_text() -> None:
    """Say in the log where this server's stub would misread TEXT, and end with it.

    Strings only ever come as an array. The stub imports the NumPy that stands in its working
    directory.
    """
    probe = pb_utils.Tensor.from_dlpack("PROBE", torch.tensor([1, 2], dtype=torch.int32))
    if probe.as_numpy().tolist() != [1, 2]:
        pb_utils.Logger.log_warn(
            f"NumPy {np.__version__} and this Triton do not fit: a TEXT request would end this "
            "model for good (INPUT_IDS are safe). Start Triton in a folder that holds NumPy 1.26"
        )
