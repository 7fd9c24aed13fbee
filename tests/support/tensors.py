"""Inputs for `tritonclient`, of HTTP and gRPC alike."""

from typing import Any

import numpy as np

TEXTS = ["The quick brown fox", "ein zweiter Satz", "東京 🗼"]
IDS = [101, 7592, 102, 101, 2088, 999, 102]
LENGTHS = [3, 4]


def text_inputs(
    library: Any, texts: list[str], shape: tuple[int, ...], **options: Any
) -> list[Any]:
    tensor = library.InferInput("TEXT", list(shape), "BYTES")
    values = np.array([text.encode() for text in texts], object).reshape(shape)
    return [tensor.set_data_from_numpy(values, **options)]


def ids_inputs(library: Any, datatype: str = "INT32", **options: Any) -> list[Any]:
    kind = {"INT32": np.int32, "INT64": np.int64}[datatype]
    tensors = []
    for name, values in (("INPUT_IDS", IDS), ("LENGTHS", LENGTHS)):
        tensor = library.InferInput(name, [1, len(values)], datatype)
        tensors.append(tensor.set_data_from_numpy(np.array([values], kind), **options))
    return tensors
