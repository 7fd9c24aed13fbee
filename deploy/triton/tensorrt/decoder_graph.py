"""The forward pass of Qwen3-Embedding as an ONNX graph, from padded ids to unit vectors.

Inputs INPUT_IDS (batch, tokens) int32, padded on the right with any valid id, and LENGTHS (batch,)
int32, each in 1 … tokens; output EMBEDDING (batch, hidden) float32.

Linear layers and attention run in the graph's dtype; norms, rotary positions, pooling and the
final normalisation in float32, where rounding would cost most and the time goes elsewhere.

Attention is causal and has no mask of lengths: padding stands on the right, so a token up to its
sequence's length sees none of it, and the vectors of padding are thrown away by the pooling.
"""

from collections.abc import Callable

import numpy as np
import torch
from onnx import ModelProto, TensorProto, ValueInfoProto, helper
from torch import Tensor

import positions
from decoder_config import DecoderConfig
from graph_builder import GraphBuilder

Read = Callable[[str, tuple[int, ...]], Tensor]
Report = Callable[[int, int], None]


class DecoderGraph:
    """Writes one model's graph. Values are named by strings, as GraphBuilder gives them."""

    def __init__(
        self, config: DecoderConfig, dtype: torch.dtype, read: Read, builder: GraphBuilder
    ) -> None:
        """`read(name, shape)` gives a published weight; `dtype` is that of the linear layers."""
        self._config = config
        self._dtype = dtype
        self._read = read
        self._build = builder

    def write(self, max_tokens: int, report: Report) -> ModelProto:
        """Return the model for up to `max_tokens` tokens a sequence.

        `report(done, layers)` is called after each layer.
        """
        config, build = self._config, self._build
        tokens = build.node("Shape", "INPUT_IDS", start=1, end=2)
        rotation = positions.rotation(build, tokens, max_tokens, config.head_width, config.theta)
        bias = self._narrowed(positions.causal_bias(build, tokens, max_tokens))
        table = self._stored("embed_tokens.weight", config.vocabulary, config.hidden)
        hidden = build.node("Gather", table, "INPUT_IDS")
        for layer in range(config.layers):
            build.scope = f"layers.{layer}"
            hidden = self._attend(hidden, rotation, bias)
            hidden = self._feed_forward(hidden)
            report(layer + 1, config.layers)
        build.scope = "pooling"
        pooled = self._last_tokens(hidden)
        result = self._unit_length(self._norm(pooled, "norm.weight", config.hidden))
        return build.model(_inputs(), _output(config.hidden), result)

    def _attend(self, hidden: str, rotation: tuple[str, str], bias: str) -> str:
        """(B, T, H) → that plus its attention, (B, T, H)."""
        config, build = self._config, self._build
        normed = self._norm_cast(hidden, "input_layernorm.weight", config.hidden)
        sizes = [config.query_width, config.key_value_width, config.key_value_width]
        names = [f"self_attn.{name}_proj.weight" for name in "qkv"]
        joint = build.node("MatMul", normed, self._transposed(names, sizes, config.hidden))
        split = build.constant(sizes)
        query, key, value = build.nodes("Split", joint, split, outputs=3, axis=-1)
        # The score's scale is put into the query's norm: rotating does not change a factor.
        query = self._heads(query, config.heads, rotation, "q", config.head_width**-0.5)
        key = self._heads(key, config.key_value_heads, rotation, "k", 1.0)
        value = self._split_heads(value, config.key_value_heads)
        key = build.node("Transpose", self._shared(key), perm=[0, 2, 3, 1])
        query, value = (
            build.node("Transpose", part, perm=[0, 2, 1, 3])
            for part in (query, self._shared(value))
        )
        scores = build.node("Add", build.node("MatMul", query, key), bias)
        context = build.node("MatMul", build.node("Softmax", scores, axis=-1), value)
        context = build.node("Transpose", context, perm=[0, 2, 1, 3])
        context = build.node("Reshape", context, build.constant([0, 0, config.query_width]))
        out = self._transposed(["self_attn.o_proj.weight"], [config.hidden], config.query_width)
        return build.node("Add", hidden, build.node("MatMul", context, out))

    def _feed_forward(self, hidden: str) -> str:
        """(B, T, H) → that plus its SiLU-gated layer, (B, T, H)."""
        config, build = self._config, self._build
        normed = self._norm_cast(hidden, "post_attention_layernorm.weight", config.hidden)
        sizes = [config.intermediate, config.intermediate]
        names = ["mlp.gate_proj.weight", "mlp.up_proj.weight"]
        joint = build.node("MatMul", normed, self._transposed(names, sizes, config.hidden))
        gate, up = build.nodes("Split", joint, build.constant(sizes), outputs=2, axis=-1)
        active = build.node("Mul", gate, build.node("Sigmoid", gate))
        down = self._transposed(["mlp.down_proj.weight"], [config.hidden], config.intermediate)
        product = build.node("MatMul", build.node("Mul", active, up), down)
        return build.node("Add", hidden, product)

    def _heads(
        self, projected: str, heads: int, rotation: tuple[str, str], kind: str, scale: float
    ) -> str:
        """(B, T, heads * d) → normed, rotated and scaled (B, T, heads, d)."""
        build, width = self._build, self._config.head_width
        split = self._split_heads(projected, heads)
        normed = self._norm(split, f"self_attn.{kind}_norm.weight", width, scale)
        first, second = build.nodes(
            "Split", normed, build.constant([width // 2] * 2), outputs=2, axis=-1
        )
        turned = build.node("Concat", build.node("Neg", second), first, axis=-1)
        cosine, sine = rotation
        rotated = build.node(
            "Add", build.node("Mul", normed, cosine), build.node("Mul", turned, sine)
        )
        return self._narrowed(rotated)

    def _split_heads(self, projected: str, heads: int) -> str:
        shape = self._build.constant([0, 0, heads, self._config.head_width])
        return self._build.node("Reshape", projected, shape)

    def _shared(self, value: str) -> str:
        """(B, T, key heads, d) → (B, T, heads, d): each key serves a group of query heads."""
        config, build = self._config, self._build
        group = config.heads // config.key_value_heads
        if group == 1:
            return value
        apart = build.node("Unsqueeze", value, build.constant([3]))
        repeated = build.node("Expand", apart, build.constant([1, 1, 1, group, 1]))
        return build.node(
            "Reshape", repeated, build.constant([0, 0, config.heads, config.head_width])
        )

    def _norm(self, value: str, name: str, width: int, scale: float = 1.0) -> str:
        """RMS norm over the last axis, in float32, times the weight and `scale`."""
        build = self._build
        exact = self._widened(value)
        mean = build.node(
            "ReduceMean", build.node("Mul", exact, exact), build.constant([-1]), keepdims=1
        )
        root = build.node("Sqrt", build.node("Add", mean, build.number(self._config.epsilon)))
        weight = self._read(self._full_name(name), (width,)).float() * scale
        stored = build.constant(weight.numpy(), np.float32)
        return build.node("Mul", build.node("Div", exact, root), stored)

    def _norm_cast(self, value: str, name: str, width: int) -> str:
        return self._narrowed(self._norm(value, name, width))

    def _last_tokens(self, hidden: str) -> str:
        """(B, T, H) → (B, H), the last token of each sequence by its length."""
        build = self._build
        last = build.node("Sub", "LENGTHS", build.constant(1, np.int32))
        last = build.node("Cast", last, to=TensorProto.INT64)
        last = build.node("Unsqueeze", last, build.constant([1]))
        return build.node("GatherND", hidden, last, batch_dims=1)

    def _unit_length(self, vectors: str) -> str:
        build = self._build
        squares = build.node("Mul", vectors, vectors)
        total = build.node("ReduceSum", squares, build.constant([-1]), keepdims=1)
        return build.node("Div", vectors, build.node("Sqrt", total))

    def _stored(self, name: str, rows: int, columns: int) -> str:
        full = self._full_name(name)
        return self._build.weight(full, self._read(full, (rows, columns)).to(self._dtype))

    def _transposed(self, names: list[str], rows: list[int], columns: int) -> str:
        """Weights (rows, columns) each, side by side as (columns, all rows) for one product."""
        full = [self._full_name(name) for name in names]
        parts = [
            self._read(name, (count, columns)).to(self._dtype)
            for name, count in zip(full, rows, strict=True)
        ]
        return self._build.weight("+".join(full), torch.cat(parts).T)

    def _full_name(self, name: str) -> str:
        scope = self._build.scope
        return f"{scope}.{name}" if scope.startswith("layers.") else name

    def _widened(self, value: str) -> str:
        is_exact = self._dtype is torch.float32
        return value if is_exact else self._build.cast(value, torch.float32)

    def _narrowed(self, value: str) -> str:
        is_exact = self._dtype is torch.float32
        return value if is_exact else self._build.cast(value, self._dtype)


def _inputs() -> list[ValueInfoProto]:
    shapes = {"INPUT_IDS": ("batch", "tokens"), "LENGTHS": ("batch",)}
    return [
        helper.make_tensor_value_info(name, TensorProto.INT32, shape)
        for name, shape in shapes.items()
    ]


def _output(hidden: int) -> ValueInfoProto:
    return helper.make_tensor_value_info("EMBEDDING", TensorProto.FLOAT, ("batch", hidden))
