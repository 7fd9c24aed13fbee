"""From a request's inputs to the token batch that a model takes; counts are exact from here on."""

import numpy as np

from router.domain.errors import InvalidInputError, TextTooLongError
from router.domain.ports import Tokenizer
from router.domain.types import EmbeddingRequest, Space, TokenBatch
from router.text.prompts import apply_template, provider_input_type, template_for


def encode_request(
    space: Space, tokenizer: Tokenizer, request: EmbeddingRequest, *, with_texts: bool = False
) -> TokenBatch:
    """Ids of every input with prompt and special tokens, at most `space.max_tokens` each.

    `with_texts` adds what a target that tokenises by itself is to be sent, where that gives the
    same ids. Raises InvalidInputError for ids outside the vocabulary or an unusable prompt, and
    TextTooLongError with the counts unless the request asks to truncate.
    """
    template = template_for(space, request.input_type, request.instruction)
    if request.texts is not None:
        texts = request.texts if template is None else apply_template(template, request.texts)
        if space.lowercase:
            texts = [text.lower() for text in texts]
        sequences = tokenizer.encode(texts)
    else:
        texts = None
        sequences = _completed(tokenizer, request.token_ids or [], template)
    lengths = [len(ids) for ids in sequences]
    if max(lengths) > space.max_tokens:
        sequences = _shortened(space, tokenizer, sequences, truncate=request.truncate)
        lengths = [len(ids) for ids in sequences]
        texts = None
    return TokenBatch(
        ids=np.array([token for ids in sequences for token in ids], dtype=np.int32),
        lengths=np.array(lengths, dtype=np.int32),
        texts=_texts(tokenizer, texts, sequences) if with_texts else None,
        input_type=provider_input_type(space, request.input_type, request.instruction),
    )


def _texts(
    tokenizer: Tokenizer, texts: list[str] | None, sequences: list[list[int]]
) -> tuple[str, ...] | None:
    """The texts, or those that the ids stand for; None where one sequence is no text's own."""
    if texts is not None:
        return tuple(texts)
    decoded = [tokenizer.decode(ids) for ids in sequences]
    return None if None in decoded else tuple(decoded)  # type: ignore[arg-type]


def _completed(
    tokenizer: Tokenizer, sequences: list[list[int]], template: str | None
) -> list[list[int]]:
    if template is not None:
        # Tokens merge across the border of prompt and text, so ids cannot be given a prompt
        # and still be those that the model was trained on.
        raise InvalidInputError(
            "token ids cannot be given a prompt: send text, or ids of the whole prompt "
            "without input_type and instruction",
            param="input_type",
        )
    size = tokenizer.vocabulary_size
    for position, ids in enumerate(sequences):
        if min(ids) < 0 or max(ids) >= size:
            raise InvalidInputError(
                f"input {position} holds token ids outside the vocabulary: they must lie "
                f"between 0 and {size - 1}",
                param="input",
            )
    return [tokenizer.complete(ids) for ids in sequences]


def _shortened(
    space: Space, tokenizer: Tokenizer, sequences: list[list[int]], *, truncate: bool
) -> list[list[int]]:
    if truncate:
        return [tokenizer.truncate(ids, space.max_tokens) for ids in sequences]
    position, length = next(
        (index, len(ids)) for index, ids in enumerate(sequences) if len(ids) > space.max_tokens
    )
    raise TextTooLongError(
        f"This model's maximum context length is {space.max_tokens} tokens; input {position} has "
        f'{length} tokens. Shorten it, or send "truncate": true.',
        param="input",
    )
