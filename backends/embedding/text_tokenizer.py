"""Tokenise the text of direct clients, as the router does for its own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, normalizers

from faults import ModelLoadError
from model_card import ModelCard


class TextTokenizer:
    """The model's own tokenizer with its post-processor, without truncation and padding."""

    def __init__(self, card: ModelCard) -> None:
        path = card.chain.transformer_folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelLoadError(f"{path} is not a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if card.lowercases:
            inner = self._tokenizer.normalizer
            steps = [normalizers.Lowercase(), *([inner] if inner is not None else [])]
            self._tokenizer.normalizer = normalizers.Sequence(steps)

    def __call__(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        """Return each text's ids (tokens,) int32, special tokens included."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
