"""Qwen3's forward pass over packed sequences, one layer a step.

Source of the formulas: Qwen3 technical report (Yang et al. 2025) and its reference implementation
in transformers; what is new here is the layout. Nothing is padded; queries, keys and values are one
product, gate and up another; and where only the last token of a sequence is pooled, the last layer
computes keys and values of all tokens, but queries, attention and MLP of those last tokens alone.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from attention import attend, attend_once
from encoder import Pass
from fusing import ElementWise
from packing import Pack
from pooling import pool
from qwen3_shape import Qwen3Shape
from qwen3_weights import Qwen3Layer, Qwen3Weights
from rotary import Rotary

_LAST = ("lasttoken",)


class Qwen3Encoder:
    """One model on one device."""

    def __init__(
        self,
        shape: Qwen3Shape,
        weights: Qwen3Weights,
        modes: tuple[str, ...],
        chunk_tokens: int,
        max_tokens: int,
    ) -> None:
        """`chunk_tokens`: rows that an MLP takes at once, which bounds its memory."""
        self._shape = shape
        self._weights = weights
        self._modes = modes
        self._chunk_tokens = chunk_tokens
        device = str(weights.embeddings.device)
        self._rotary = Rotary(shape.head_dim, shape.rope_theta, max_tokens, device)
        self._element_wise = ElementWise(device)

    @property
    def steps(self) -> int:
        """The model's layers."""
        return self._shape.layers

    def in_fp8(self) -> "Qwen3Encoder":
        """Return an encoder with the same embeddings and norms whose products are in FP8."""
        other = object.__new__(Qwen3Encoder)
        other.__dict__.update(self.__dict__)
        layers = tuple(layer.in_fp8() for layer in self._weights.layers)
        other._weights = replace(self._weights, layers=layers)
        return other

    def begin(self, pack: Pack) -> Pass:
        """Look up embeddings (T, hidden) and the angles of all positions."""
        hidden = self._weights.embeddings[pack.ids]
        return Pass(pack, hidden, self._rotary.at(pack.positions, hidden.dtype))

    def step(self, under_way: Pass) -> None:
        """Run the next layer."""
        layer = self._weights.layers[under_way.steps_done]
        is_last = under_way.steps_done == self.steps - 1
        if is_last and self._modes == _LAST:
            hidden = self._attention_of_last(layer, under_way)
        else:
            hidden = self._attention(layer, under_way)
        under_way.hidden = self._mlp(layer, hidden)
        under_way.steps_done += 1

    def features(self, finished: Pass) -> Tensor:
        """Apply the final norm and pool: (n, hidden x modes) float32."""
        normed = self._norm(finished.hidden, self._weights.final_norm)
        return normed.float() if self._modes == _LAST else pool(normed, finished.pack, self._modes)

    def _attention(self, layer: Qwen3Layer, under_way: Pass) -> Tensor:
        """(T, hidden) → (T, hidden), the residual added."""
        shape, (cos, sin) = self._shape, under_way.context
        projected = layer.qkv(self._norm(under_way.hidden, layer.input_norm))
        widths = [shape.query_width, shape.shared_width, shape.shared_width]
        query, key, value = (self._heads(part) for part in torch.split(projected, widths, dim=-1))
        query = self._turn(query, layer.query_norm, cos, sin)
        key = self._turn(key, layer.key_norm, cos, sin)
        attended = attend(query, key, value, under_way.pack, causal=True)
        return under_way.hidden + layer.output(attended.flatten(1))

    def _attention_of_last(self, layer: Qwen3Layer, under_way: Pass) -> Tensor:
        """(T, hidden) → (n, hidden): the last tokens', which see all of their sequence."""
        shape, (cos, sin) = self._shape, under_way.context
        rows, width = under_way.pack.last_rows, shape.query_width
        normed = self._norm(under_way.hidden, layer.input_norm)
        query = self._heads(layer.qkv.rows(0, width)(normed[rows]))
        projected = layer.qkv.rows(width, width + 2 * shape.shared_width)(normed)
        key, value = (self._heads(part) for part in projected.chunk(2, dim=-1))
        query = self._turn(query, layer.query_norm, cos[rows], sin[rows])
        key = self._turn(key, layer.key_norm, cos, sin)
        attended = attend_once(query, key, value, under_way.pack)
        return under_way.hidden[rows] + layer.output(attended.flatten(1))

    def _mlp(self, layer: Qwen3Layer, hidden: Tensor) -> Tensor:
        """(T, hidden) → (T, hidden), the residual added, a chunk of rows at a time."""
        for rows in torch.split(hidden, self._chunk_tokens):
            wide = layer.gate_up(self._norm(rows, layer.mlp_norm))
            # Rows are a view, and nobody else holds what they show.
            rows += layer.down(self._element_wise.gate(wide))  # noqa: PLW2901
        return hidden

    def _heads(self, flat: Tensor) -> Tensor:
        return flat.view(len(flat), -1, self._shape.head_dim)

    def _turn(self, heads: Tensor, weight: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return self._element_wise.turn(heads, weight, cos, sin, self._shape.epsilon)

    def _norm(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(hidden, weight.shape, weight, self._shape.epsilon)


def peak_activation_bytes(shape: Qwen3Shape, tokens: int, chunk_tokens: int, width: int) -> int:
    """Bound what one pass over `tokens` holds at once beside the weights, `width` bytes a number.

    Attention: hidden, its norm, one product for queries, keys and values, both turned, keys and
    values spread to all heads (on a CPU), the answer and its projection. The MLP: hidden and, for
    one chunk, a norm, gate and up, and the way back.
    """
    attention = 3 * shape.hidden + 6 * shape.query_width + 4 * shape.shared_width
    chunk = min(tokens, chunk_tokens)
    mlp = tokens * shape.hidden + chunk * (2 * shape.hidden + 3 * shape.intermediate)
    return width * max(tokens * attention, mlp)
