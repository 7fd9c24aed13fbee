"""Builds an ONNX graph node by node; large weights go straight to a file beside it."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor

_OPSET = 18
# The newest that both TensorRT 10 and onnxruntime 1.19 read.
_IR_VERSION = 9
# A page: readers may then map the file instead of copying it.
_ALIGNMENT = 4096
_ELEMENT_TYPES = {torch.float32: TensorProto.FLOAT, torch.bfloat16: TensorProto.BFLOAT16}


class GraphBuilder:
    """Nodes and weights of one graph. Values are known by their names, as ONNX knows them."""

    def __init__(self, data: BinaryIO, data_name: str) -> None:
        """`data` takes the weights; `data_name` is its file's name, beside the graph's own."""
        self._data = data
        self._data_name = data_name
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        # Where in the model the next nodes stand: `layers.3`.
        self.scope = "model"

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output; returns the output's name."""
        return self.nodes(kind, *inputs, outputs=1, **attributes)[0]

    def nodes(
        self,
        kind: str,
        *inputs: str,
        outputs: int,
        **attributes: Any,  # noqa: ANN401
    ) -> list[str]:
        """Add a node with several outputs; returns their names."""
        name = f"{self.scope}/{kind}_{len(self._nodes)}"
        names = [f"{name}:{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.int64) -> str:
        """Add a small constant, kept inside the graph; returns its name."""
        name = f"constant_{len(self._initializers)}"
        array = np.asarray(values, dtype=dtype)
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        """Add a float32 constant without axes; returns its name."""
        return self.constant(value, np.float32)

    def weight(self, name: str, tensor: Tensor) -> str:
        """Add a float32 or bfloat16 weight, kept in the data file; returns its name."""
        offset = -(-self._data.tell() // _ALIGNMENT) * _ALIGNMENT
        self._data.seek(offset)
        # NumPy has no bfloat16; the bytes are the same.
        self._data.write(tensor.contiguous().view(torch.uint8).numpy().data)
        initializer = TensorProto(
            name=name,
            data_type=_ELEMENT_TYPES[tensor.dtype],
            dims=tensor.shape,
            data_location=TensorProto.EXTERNAL,
        )
        place = {
            "location": self._data_name,
            "offset": str(offset),
            "length": str(self._data.tell() - offset),
        }
        for key, value in place.items():
            initializer.external_data.add(key=key, value=value)
        self._initializers.append(initializer)
        return name

    def first(self, table: str, count: str) -> str:
        """Take the first `count` (a tensor of one integer) rows of a table."""
        zero = self.constant([0])
        return self.node("Slice", table, zero, count, zero)

    def cast(self, value: str, dtype: torch.dtype) -> str:
        """Convert a value to float32 or bfloat16."""
        return self.node("Cast", value, to=_ELEMENT_TYPES[dtype])

    def model(
        self, inputs: list[ValueInfoProto], output: ValueInfoProto, result: str
    ) -> ModelProto:
        """Return the finished model, whose output is the value `result`."""
        self._nodes.append(helper.make_node("Identity", [result], [output.name], name="output"))
        graph = helper.make_graph(
            self._nodes, "qwen3_embedding", inputs, [output], initializer=self._initializers
        )
        return helper.make_model(
            graph,
            producer_name="embedway",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )


def save_model(model: ModelProto, path: Path) -> None:
    """Write the graph; its weights are in the data file already."""
    path.write_bytes(model.SerializeToString())
