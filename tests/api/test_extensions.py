"""What the router adds to OpenAI's API; all of it optional."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from router.domain.types import TokenBatch
from tests.support.router_under_test import RouterUnderTest
from tests.support.settings import MAX_TOKENS
from tests.support.wire import AUTHORIZATION, call, embed, vectors


def sent_ids(router: RouterUnderTest, target: str) -> list[int]:
    """Ids of the last call to the target."""
    batch: TokenBatch = router.fake(target).calls[-1]
    return batch.ids.tolist()


DEFAULT = "Instruct: Find the passage\nQuery: hello"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "hello"),
        ({"input_type": "document"}, "hello"),
        ({"input_type": None, "instruction": None, "truncate": None}, "hello"),
        ({"input_type": "query"}, DEFAULT),
        ({"instruction": "Do {text}"}, "Instruct: Do {text}\nQuery: hello"),
        ({"input_type": "query", "instruction": "Rank"}, "Instruct: Rank\nQuery: hello"),
        ({"input_type": "clustering"}, "Cluster: hello"),
    ],
    ids=["bare", "document", "nulls", "query", "instruction", "both", "preset"],
)
def test_prompts(router: RouterUnderTest, minilm: Path, fields: dict[str, Any], text: str) -> None:
    """Input type and instruction choose the prompt that the target's ids begin with."""
    assert embed(router, model="org/wide", input="hello", **fields).status == 200
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    assert sent_ids(router, "wide-target") == tokenizer.encode(text).ids


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        ("org/wide", {"input_type": "poem"}, "input_type"),
        ("org/wide", {"input_type": "clustering", "instruction": "x"}, "instruction"),
        ("org/wide", {"input_type": "document", "instruction": "x"}, "instruction"),
        ("plain", {"instruction": "x"}, "instruction"),
        ("plain", {"input_type": "clustering"}, "input_type"),
        ("org/wide", {"input": [5, 6], "input_type": "query"}, "input_type"),
    ],
    ids=["unknown type", "preset takes none", "document takes none", "space takes none",
         "space has no preset", "ids take no prompt"],
)  # fmt: skip
def test_unusable_prompts(
    router: RouterUnderTest, model: str, fields: dict[str, Any], param: str
) -> None:
    """A prompt that the space cannot give is refused, and names the field."""
    answer = embed(router, **{"model": model, "input": "hello"} | fields)
    assert answer.status == 400
    assert answer.error["param"] == param
    assert answer.error["code"] == "invalid_input"


def test_truncate(router: RouterUnderTest, minilm: Path) -> None:
    """A text cut by `truncate` has the vector of its first tokens between the special ones."""
    text = "word " * (MAX_TOKENS * 3)
    cut = embed(router, input=[text, "short"], truncate=True)
    by_hand = "word " * (MAX_TOKENS - 2)
    expected = embed(router, input=[by_hand, "short"])
    assert vectors(cut) == vectors(expected)
    assert cut.json["usage"] == expected.json["usage"]
    assert cut.json["usage"]["prompt_tokens"] == MAX_TOKENS + 3


def test_truncated_ids(router: RouterUnderTest) -> None:
    """Ids over the limit are cut too, and the last special token stays."""
    answer = embed(router, input=[7592] * 500, truncate=True)
    assert answer.status == 200
    ids = sent_ids(router, "plain-target")
    assert (len(ids), ids[0], ids[-1]) == (MAX_TOKENS, 101, 102)


def test_the_longest_text_needs_no_truncation(router: RouterUnderTest) -> None:
    """A text of exactly the limit is served; one token more is refused with both counts."""
    assert embed(router, input="word " * (MAX_TOKENS - 2)).status == 200
    answer = embed(router, input=["a", "word " * (MAX_TOKENS - 1)])
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    for count in (MAX_TOKENS, MAX_TOKENS + 1):
        assert f"{count} tokens" in answer.error["message"]
    assert "input 1" in answer.error["message"]


def test_a_pinned_space(router: RouterUnderTest) -> None:
    """A request pinned to the space of its model is served; the answer names space and target."""
    answer = embed(router, {"x-embedway-space": "plain-space"}, input="a")
    assert answer.status == 200
    assert answer.headers["x-embedway-space"] == "plain-space"
    assert answer.headers["x-embedway-target"] == "plain-target"


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/models/plain/infer"])
@pytest.mark.parametrize("pinned", ["wide-space", "", "plain-spac", "Pläin"])
def test_another_space_is_refused(router: RouterUnderTest, path: str, pinned: str) -> None:
    """A request pinned to another space than its model's is refused before any work is done."""
    bodies = {
        "/v1/embeddings": b'{"model":"plain","input":"a"}',
        "/v2/models/plain/infer": b'{"inputs":[{"name":"TEXT","datatype":"BYTES","shape":[1],'
        b'"data":["a"]}]}',
    }
    headers = {"x-embedway-space": pinned}
    answer = call(router, "POST", path, bodies[path], headers=AUTHORIZATION | headers)
    assert answer.status == 409
    assert router.fake("plain-target").calls == []
    if path == "/v1/embeddings":
        assert answer.error["code"] == "space_mismatch"
        assert "plain-space" in answer.error["message"]


def test_answers_are_independent_of_neighbours(router: RouterUnderTest) -> None:
    """The same text thrice in one request gives the same vector thrice."""
    same = np.array(vectors(embed(router, input=["a", "b", "a", "a"])), np.float32)
    assert np.array_equal(same[0], same[2])
    assert np.array_equal(same[0], same[3])
    assert not np.array_equal(same[0], same[1])
