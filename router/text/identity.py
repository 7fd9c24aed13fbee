"""What tells one tokenizer from another: vectors are kept by ids, which mean nothing without it."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from router.domain.ports import Tokenizer
from router.domain.types import Space
from router.text.golden import GOLDEN_QUERY, GOLDEN_TEXTS


def identified(
    spaces: Mapping[str, Space], tokenizers: Mapping[str, Tokenizer]
) -> dict[str, Space]:
    """The spaces, each with its tokenizer in its `id`."""
    return {
        name: replace(space, tokenizer_id=_fingerprint(tokenizers[name]))
        for name, space in spaces.items()
    }


def _fingerprint(tokenizer: Tokenizer) -> str:
    """A hash of the size of its vocabulary, and of what it makes of texts in many scripts."""
    digest = hashlib.blake2b(b"%d" % tokenizer.vocabulary_size, digest_size=16)
    for ids in tokenizer.encode([*GOLDEN_TEXTS, GOLDEN_QUERY]):
        digest.update(np.array([len(ids), *ids], "<i4").tobytes())
    return digest.hexdigest()
