"""The general path: any transformer that transformers knows, padded as little as sorting allows."""

from typing import Any

import torch
from torch import Tensor

from encoder import Pass
from packing import Pack, cut_by_tokens
from pooling import pool


class PaddedEncoder:
    """A transformers model behind the same steps; its whole pass is one of them."""

    steps = 1

    def __init__(
        self,
        transformer: Any,  # noqa: ANN401
        modes: tuple[str, ...],
        vocab_size: int,
        max_batch_tokens: int,
    ) -> None:
        """`max_batch_tokens`: padded tokens that one call of the transformer takes."""
        self._transformer = transformer
        self._modes = modes
        self._padding_id = _padding_id(transformer.config, vocab_size)
        self._max_batch_tokens = max_batch_tokens

    def begin(self, pack: Pack) -> Pass:
        """Nothing is computed yet."""
        return Pass(pack, pack.ids)

    def step(self, under_way: Pass) -> None:
        """Run the transformer on length-sorted parts of the pack."""
        pack = under_way.pack
        sequences = torch.split(pack.ids, list(pack.lengths))
        rows: list[Tensor] = [pack.ids] * len(sequences)
        for places in cut_by_tokens(pack.lengths, self._max_batch_tokens):
            hidden = self._run([sequences[place] for place in places])
            for place, row in zip(places, hidden, strict=True):
                rows[place] = row[: pack.lengths[place]]
        under_way.hidden = torch.cat(rows)
        under_way.steps_done += 1

    def features(self, finished: Pass) -> Tensor:
        """Pool: (n, hidden x modes) float32."""
        return pool(finished.hidden, finished.pack, self._modes)

    def _run(self, sequences: list[Tensor]) -> Tensor:
        """N times (tokens,) int64 → (n, longest, D), padded on the right.

        Causal models need no padding on the left: the last valid token is found by its length.
        """
        lengths = torch.tensor([len(ids) for ids in sequences], device=sequences[0].device)
        ids = torch.nn.utils.rnn.pad_sequence(sequences, True, float(self._padding_id))
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)
        hidden: Tensor = self._transformer(
            input_ids=ids, attention_mask=mask.long()
        ).last_hidden_state
        return hidden


def _padding_id(config: Any, vocab_size: int) -> int:  # noqa: ANN401
    """Return the id to pad with: masked, but RoBERTa also derives positions from it."""
    stated = getattr(config, "pad_token_id", None)
    return stated if isinstance(stated, int) and 0 <= stated < vocab_size else 0
