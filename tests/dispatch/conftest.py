"""What tests of dispatch share."""

from pathlib import Path

import pytest

from router.text.tokenizer import HuggingFaceTokenizer


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.load(minilm, "m", None)
