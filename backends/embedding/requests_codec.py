"""A request's tensors to sequences of token ids, checked against what the model takes.

Refusals count and never quote: texts and ids are private.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faults import BadRequestError
from model_card import ModelCard

Ids = npt.NDArray[np.int32]
Tokenise = Callable[[Sequence[str]], list[Ids]]


def decode_ids(
    ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32], card: ModelCard
) -> list[Ids]:
    """Cut packed ids into sequences: ids (…, total), lengths (…, n) → n times (tokens,) int32.

    The leading dimensions agree (Triton's batch dimension, usually 1); each row of lengths adds up
    to its row of ids. Raises BadRequestError.
    """
    if ids.ndim != lengths.ndim or ids.shape[:-1] != lengths.shape[:-1]:
        raise BadRequestError(
            f"INPUT_IDS has the shape {list(ids.shape)} and LENGTHS {list(lengths.shape)}: "
            "all but their last dimensions must agree"
        )
    if lengths.size == 0:
        raise BadRequestError("LENGTHS is empty: a request holds at least one sequence")
    flat_lengths = lengths.reshape(-1).astype(np.int64)
    _check_lengths(flat_lengths, card.max_tokens)
    totals = lengths.sum(axis=-1, dtype=np.int64).reshape(-1)
    if (totals != ids.shape[-1]).any():
        raise BadRequestError(
            f"LENGTHS add up to {int(totals.sum())} tokens, and INPUT_IDS holds {ids.size}"
        )
    sequences = np.split(ids.reshape(-1), np.cumsum(flat_lengths)[:-1])
    for place, sequence in enumerate(sequences):
        _check_ids(sequence, place, len(sequences), card.vocab_size)
    return sequences


def decode_texts(texts: npt.NDArray[Any], card: ModelCard, tokenise: Tokenise) -> list[Ids]:
    """Tokenise UTF-8 texts: (…, n) bytes → n times (tokens,) int32. Raises BadRequestError."""
    if texts.size == 0:
        raise BadRequestError("TEXT is empty: a request holds at least one text")
    count = texts.size
    decoded = [_decode_text(text, place, count) for place, text in enumerate(texts.reshape(-1))]
    sequences = tokenise(decoded)
    for place, sequence in enumerate(sequences):
        if len(sequence) == 0:
            raise BadRequestError(f"text {place + 1} of {count} has no tokens")
        if len(sequence) > card.max_tokens:
            raise BadRequestError(
                f"text {place + 1} of {count} has {len(sequence)} tokens, and the model takes at "
                f"most {card.max_tokens}"
            )
        _check_ids(sequence, place, count, card.vocab_size)
    return sequences


def _decode_text(text: bytes, place: int, count: int) -> str:
    if not text:
        raise BadRequestError(f"text {place + 1} of {count} is empty")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        # Not `from error`: that one holds the text.
        raise BadRequestError(f"text {place + 1} of {count} is not valid UTF-8") from None


def _check_lengths(lengths: npt.NDArray[np.int64], max_tokens: int) -> None:
    for is_wrong, reason in (
        (lengths < 1, "at least 1 is needed"),
        (lengths > max_tokens, f"the model takes at most {max_tokens}"),
    ):
        if is_wrong.any():
            place = int(is_wrong.argmax())
            raise BadRequestError(
                f"sequence {place + 1} of {len(lengths)} has {lengths[place]} tokens: {reason}"
            )


def _check_ids(sequence: Ids, place: int, count: int, vocab_size: int) -> None:
    is_outside = (sequence < 0) | (sequence >= vocab_size)
    if is_outside.any():
        raise BadRequestError(
            f"sequence {place + 1} of {count} has {int(is_outside.sum())} token ids outside the "
            f"vocabulary of {vocab_size}"
        )
