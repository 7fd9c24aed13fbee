"""An input whose vector is known goes along, and tells at once when another model answers."""

from typing import Any

import numpy as np
import pytest

from router.domain.errors import UpstreamContractError, UpstreamSpaceError
from router.domain.types import TokenBatch
from router.text.golden import canary_batch
from router.text.tokenizer import HuggingFaceTokenizer
from router.upstreams.canary import CanaryUpstream
from router.upstreams.fake import FakeUpstream
from tests.support.changed_vectors import DIMENSIONS, SPACE, Changed, rotated


async def canary(upstream: FakeUpstream, tokenizer: HuggingFaceTokenizer) -> CanaryUpstream:
    batch = canary_batch(SPACE, tokenizer)
    expected = (await FakeUpstream(DIMENSIONS).embed(batch, 1))[0]
    return CanaryUpstream(upstream, batch, lambda: expected, 0.99)


ASKED = TokenBatch(np.arange(6, dtype="i4"), np.array([2, 3, 1], "i4"), ("a", "b", "c"))


async def test_the_canary_never_comes_out(tokenizer: HuggingFaceTokenizer) -> None:
    """The caller gets its own vectors; the target got one input more."""
    fake = FakeUpstream(DIMENSIONS)
    vectors = await (await canary(fake, tokenizer)).embed(ASKED, 1)
    assert np.array_equal(vectors, await FakeUpstream(DIMENSIONS).embed(ASKED, 1))
    assert (fake.calls[0].count, fake.calls[0].texts) == (4, ("a", "b", "c", "harbour"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param(rotated, UpstreamSpaceError, id="another model"),
        pytest.param(
            lambda vectors: np.roll(vectors, 1, axis=0), UpstreamSpaceError, id="shifted by one"
        ),
        pytest.param(
            lambda vectors: np.repeat(vectors[:1], len(vectors), 0), UpstreamSpaceError, id="one"
        ),
        pytest.param(lambda vectors: vectors[:-1], UpstreamContractError, id="one too few"),
        pytest.param(lambda vectors: vectors * np.nan, UpstreamContractError, id="NaN"),
        pytest.param(lambda vectors: vectors[:, 1:], UpstreamContractError, id="dimension"),
    ],
)
async def test_the_canary_tells_before_a_vector_is_used(
    tokenizer: HuggingFaceTokenizer, change: Any, error: type[Exception]
) -> None:
    """In the very call in which it happens."""
    with pytest.raises(error) as caught:
        await (await canary(Changed(change), tokenizer)).embed(ASKED, 1)
    assert type(caught.value) is error


async def test_another_input_type_carries_no_canary(tokenizer: HuggingFaceTokenizer) -> None:
    """A provider's own prompt changes the vector, which is known for documents only."""
    fake = FakeUpstream(DIMENSIONS)
    asked = TokenBatch(ASKED.ids, ASKED.lengths, ASKED.texts, "search_query")
    assert len(await (await canary(fake, tokenizer)).embed(asked, 1)) == 3
    assert fake.calls[0].count == 3
