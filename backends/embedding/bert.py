"""BERT's forward pass over packed sequences, one layer a step.

Source of the formulas: Devlin et al. 2019 and the reference implementation in transformers. Nothing
is padded, so no attention mask exists; queries, keys and values are one product; and where only the
first token of a sequence is pooled, the last layer works on those alone.
"""

from torch import Tensor
from torch.nn import functional

from attention import attend, attend_once
from bert_shape import BertShape
from bert_weights import BertLayer, BertWeights, Norm
from encoder import Pass
from packing import Pack
from pooling import pool

_FIRST = ("cls",)


class BertEncoder:
    """One model on one device."""

    def __init__(self, shape: BertShape, weights: BertWeights, modes: tuple[str, ...]) -> None:
        self._shape = shape
        self._weights = weights
        self._modes = modes

    @property
    def steps(self) -> int:
        """The model's layers."""
        return self._shape.layers

    def begin(self, pack: Pack) -> Pass:
        """Add up the embeddings of words, positions and the type: (T, hidden)."""
        hidden = self._weights.words[pack.ids].add_(self._weights.positions[pack.positions])
        return Pass(pack, self._norm(hidden, self._weights.norm))

    def step(self, under_way: Pass) -> None:
        """Run the next layer."""
        layer = self._weights.layers[under_way.steps_done]
        is_last = under_way.steps_done == self.steps - 1
        if is_last and self._modes == _FIRST:
            hidden = self._attention_of_first(layer, under_way)
        else:
            hidden = self._attention(layer, under_way)
        wide = functional.gelu(layer.up(hidden))
        under_way.hidden = self._norm(hidden.add_(layer.down(wide)), layer.mlp_norm)
        under_way.steps_done += 1

    def features(self, finished: Pass) -> Tensor:
        """Pool: (n, hidden x modes) float32."""
        if self._modes == _FIRST:
            return finished.hidden.float()
        return pool(finished.hidden, finished.pack, self._modes)

    def _attention(self, layer: BertLayer, under_way: Pass) -> Tensor:
        """(T, hidden) → (T, hidden), the residual added and normalised."""
        parts = layer.qkv(under_way.hidden).chunk(3, dim=-1)
        query, key, value = (self._heads(part) for part in parts)
        attended = attend(query, key, value, under_way.pack, causal=False)
        mixed = layer.output(attended.flatten(1)).add_(under_way.hidden)
        return self._norm(mixed, layer.attention_norm)

    def _attention_of_first(self, layer: BertLayer, under_way: Pass) -> Tensor:
        """(T, hidden) → (n, hidden)."""
        width, rows = self._shape.hidden, under_way.pack.first_rows
        query = self._heads(layer.qkv.rows(0, width)(under_way.hidden[rows]))
        shared = layer.qkv.rows(width, 3 * width)(under_way.hidden)
        key, value = (self._heads(part) for part in shared.chunk(2, dim=-1))
        attended = attend_once(query, key, value, under_way.pack)
        mixed = layer.output(attended.flatten(1)).add_(under_way.hidden[rows])
        return self._norm(mixed, layer.attention_norm)

    def _heads(self, flat: Tensor) -> Tensor:
        return flat.view(len(flat), self._shape.heads, -1)

    def _norm(self, hidden: Tensor, norm: Norm) -> Tensor:
        return functional.layer_norm(
            hidden, norm.weight.shape, norm.weight, norm.bias, self._shape.epsilon
        )
