"""Hugging Face tokenizers: text to ids, special tokens at the ends, truncation that keeps them."""

from pathlib import Path

from huggingface_hub import hf_hub_download
from tokenizers import Tokenizer

from router.domain.errors import ConfigurationError

# Any text that gives at least one token, to see what the post-processor puts around it.
_PROBE = "a"


class HuggingFaceTokenizer:
    """A `tokenizer.json` with truncation and padding switched off: the router decides both."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._size = tokenizer.get_vocab_size(with_added_tokens=True)
        bare = tokenizer.encode(_PROBE, add_special_tokens=False).ids
        full = tokenizer.encode(_PROBE, add_special_tokens=True).ids
        start = _find(full, bare)
        self._head: list[int] = full[:start]
        self._tail: list[int] = full[start + len(bare) :]

    @classmethod
    def load(cls, folder: Path | None, model: str, revision: str | None) -> "HuggingFaceTokenizer":
        """From a folder with tokenizer.json, or else from a Hugging Face id.

        Raises ConfigurationError where it is missing, cannot be fetched or cannot be read.
        """
        path = folder / "tokenizer.json" if folder is not None else _download(model, revision)
        if not path.is_file():
            raise ConfigurationError(f"{path}: there is no tokenizer for {model}")
        try:
            return cls(Tokenizer.from_file(str(path)))
        # The library raises bare Exception for a file that it cannot read.
        except Exception as error:
            raise ConfigurationError(f"{path}: is not a tokenizer: {error}") from error

    @property
    def vocabulary_size(self) -> int:
        """Ids lie in [0, vocabulary_size)."""
        return self._size

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text with the model's special tokens, untruncated."""
        if len(texts) == 1:
            return [self._tokenizer.encode(texts[0]).ids]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def decode(self, ids: list[int]) -> str | None:
        """The text whose encoding is exactly these complete ids; None where there is none."""
        bare = ids[len(self._head) : len(ids) - len(self._tail)]
        text: str = self._tokenizer.decode(bare, skip_special_tokens=False)
        return text if text and self._tokenizer.encode(text).ids == ids else None

    def complete(self, ids: list[int]) -> list[int]:
        """The ids with those special tokens put back that are missing at either end."""
        head = [] if ids[: len(self._head)] == self._head else self._head
        tail = [] if not self._tail or ids[-len(self._tail) :] == self._tail else self._tail
        return [*head, *ids, *tail]

    def truncate(self, ids: list[int], max_tokens: int) -> list[int]:
        """Complete ids cut to `max_tokens`, special tokens kept at both ends."""
        if len(ids) <= max_tokens:
            return ids
        return [*ids[: max_tokens - len(self._tail)], *self._tail]


def _find(full: list[int], bare: list[int]) -> int:
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return start
    raise ConfigurationError("the tokenizer changes a text's own tokens when it adds special ones")


def _download(model: str, revision: str | None) -> Path:
    try:
        return Path(hf_hub_download(model, "tokenizer.json", revision=revision))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the tokenizer of {model} could not be fetched; set spaces.….tokenizer to a folder"
        ) from error
