"""A Python model of Triton that stands in for a TensorRT engine: `1/model.py` of its folder.

It runs the engine's graph, and fails what an engine fails: shapes that no profile covers.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        graph = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(graph), options)
        stated = json.loads(args["model_config"])["parameters"]["profiles"]["string_value"]
        self._profiles = [tuple(map(int, shape.split("x"))) for shape in stated.split()]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as pb_utils

        names = ("INPUT_IDS", "LENGTHS")
        ids, lengths = (
            pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in names
        )
        if not self._covers(ids.shape) or lengths.shape != ids.shape[:1]:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("no profile covers it"))
        (vectors,) = self._session.run(None, {"INPUT_IDS": ids, "LENGTHS": lengths})
        return pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", np.asarray(vectors))])

    def _covers(self, shape: tuple[int, ...]) -> bool:
        shortest = 1
        for rows, tokens in self._profiles:
            if shape[0] <= rows and shortest <= shape[1] <= tokens:
                return True
            shortest = tokens + 1
        return False
