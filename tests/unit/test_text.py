"""Prompts, special tokens, truncation and exact counts, on small tokenizers made here."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from router.domain.errors import ConfigurationError, InvalidInputError, TextTooLongError
from router.domain.types import EmbeddingRequest, Space
from router.text.encode import encode_request
from router.text.prompts import apply_template, template_for
from router.text.tokenizer import HuggingFaceTokenizer

WORDS = ["[CLS]", "[SEP]", "<end>", "[UNK]", "a", "b", "c", "Instruct:", "find", "Query:"]
INSTRUCTED = "Instruct: {instruction} Query: {text}"


def tokenizer(template: str) -> HuggingFaceTokenizer:
    """A tokenizer of whole words; `template` as of a post-processor, `$A` the text."""
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    specials = [(word, WORDS.index(word)) for word in ("[CLS]", "[SEP]", "<end>")]
    words.post_processor = processors.TemplateProcessing(single=template, special_tokens=specials)
    # Like published files: they come with truncation and padding switched on.
    words.enable_truncation(2)
    words.enable_padding(length=64)
    return HuggingFaceTokenizer(words)


BERT = tokenizer("[CLS] $A [SEP]")
TERMINAL = tokenizer("$A <end>")
BARE = tokenizer("$A")


def space(**changes: object) -> Space:
    values: dict[str, object] = {"dimensions": 4, "max_tokens": 8, "model": "org/m", "name": "s"}
    return Space(**{**values, **changes})  # type: ignore[arg-type]


def request(**fields: object) -> EmbeddingRequest:
    return EmbeddingRequest(**{"model": "m", "deadline_s": 1.0, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        pytest.param(BERT, [0, 4, 5, 1], id="both ends"),
        pytest.param(TERMINAL, [4, 5, 2], id="terminal token"),
        pytest.param(BARE, [4, 5], id="none"),
    ],
)
def test_special_tokens_come_with_the_text_and_with_its_ids(
    kind: HuggingFaceTokenizer, ids: list[int]
) -> None:
    """Text, its bare ids and its complete ids all become the same sequence."""
    assert kind.encode(["a b"]) == [ids]
    assert kind.complete([4, 5]) == ids
    assert kind.complete(ids) == ids


def test_a_lost_terminal_token_is_put_back() -> None:
    """Ids that were cut by the client, and so lost their end, get it again."""
    assert BERT.complete([0, 4, 5]) == [0, 4, 5, 1]


def test_the_files_own_truncation_and_padding_are_off() -> None:
    """Counts are those of the whole text and of nothing else."""
    assert BERT.encode(["a a a a a a"]) == [[0, *[4] * 6, 1]]
    assert [len(ids) for ids in BERT.encode(["a", "a b c"])] == [3, 5]


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        pytest.param(BERT, [0, 4, 4, 1], id="both ends"),
        pytest.param(TERMINAL, [4, 4, 4, 2], id="terminal token"),
        pytest.param(BARE, [4, 4, 4, 4], id="none"),
    ],
)
def test_truncation_keeps_the_special_tokens(kind: HuggingFaceTokenizer, ids: list[int]) -> None:
    """A truncated sequence has exactly the room, and still its own end."""
    assert kind.truncate(kind.encode(["a a a a a a a"])[0], 4) == ids


def test_a_batch_is_packed_in_order_with_its_lengths() -> None:
    """Sequences stand end to end, each length its own."""
    batch = encode_request(space(), BERT, request(texts=["a", "b c"]))
    assert batch.ids.tolist() == [0, 4, 1, 0, 5, 6, 1]
    assert batch.lengths.tolist() == [3, 4]
    assert (batch.total, batch.count) == (7, 2)
    assert batch.ids.dtype == batch.lengths.dtype == "int32"


def test_a_space_may_want_lower_case() -> None:
    """Models that were trained on lower case get it; the others get the text as it is."""
    lower = encode_request(space(lowercase=True), BERT, request(texts=["A"]))
    assert lower.ids.tolist() == [0, 4, 1]
    assert encode_request(space(), BERT, request(texts=["A"])).ids.tolist() == [0, 3, 1]


def test_a_text_of_the_very_limit_passes() -> None:
    """max_tokens counts the special tokens, and is allowed itself."""
    assert encode_request(space(), BERT, request(texts=["a a a a a a"])).total == 8


def test_a_text_over_the_limit_is_refused_with_the_counts() -> None:
    """The message says which input, how long it is, and how long it may be."""
    with pytest.raises(TextTooLongError, match=r"is 8 tokens; input 1 has 9 tokens"):
        encode_request(space(), BERT, request(texts=["a", "a a a a a a a"]))


def test_truncate_cuts_only_what_is_too_long() -> None:
    """Short inputs beside a long one stay whole."""
    batch = encode_request(space(), BERT, request(texts=["a", "b b b b b b b b"], truncate=True))
    assert batch.lengths.tolist() == [3, 8]
    assert batch.ids.tolist() == [0, 4, 1, 0, *[5] * 6, 1]


@pytest.mark.parametrize("bad", [-1, len(WORDS), 2**31, 2**70])
def test_ids_outside_the_vocabulary_are_refused(bad: int) -> None:
    """The message gives the range, whatever the number."""
    with pytest.raises(InvalidInputError, match=r"input 1 .* between 0 and 9"):
        encode_request(space(), BERT, request(token_ids=[[4], [4, bad]]))


def test_a_query_gets_its_instruction_and_a_document_stays_bare() -> None:
    """Only queries carry a prompt."""
    instructed = space(prompts={"query": INSTRUCTED}, default_instruction="find", max_tokens=20)
    query = encode_request(instructed, TERMINAL, request(texts=["a"], input_type="query"))
    document = encode_request(instructed, TERMINAL, request(texts=["a"], input_type="document"))
    plain = encode_request(instructed, TERMINAL, request(texts=["a"]))
    assert query.ids.tolist() == [7, 8, 9, 4, 2]
    assert document.ids.tolist() == plain.ids.tolist() == [4, 2]


def test_an_instruction_alone_makes_a_query() -> None:
    """Nothing but a query takes an instruction, so none has to be said."""
    instructed = space(prompts={"query": INSTRUCTED}, default_instruction="find")
    assert template_for(instructed, None, "b c") == "Instruct: b c Query: {text}"


def test_braces_in_an_instruction_or_text_stay_as_they_are() -> None:
    """Templates are filled by place, not by format strings."""
    instructed = space(prompts={"query": INSTRUCTED}, default_instruction="find")
    template = template_for(instructed, "query", "{text} {0}")
    assert apply_template(template or "", ["{instruction}"]) == [
        "Instruct: {text} {0} Query: {instruction}"
    ]


@pytest.mark.parametrize(
    ("prompts", "fields", "word"),
    [
        pytest.param({}, {"input_type": "poem"}, "one of document, query", id="unknown type"),
        pytest.param({}, {"instruction": "x"}, "no instruction for a query", id="no prompts"),
        pytest.param(
            {"query": INSTRUCTED},
            {"instruction": "x", "input_type": "document"},
            "no instruction for a document",
            id="on a document",
        ),
    ],
)
def test_prompts_that_the_space_has_not(
    prompts: dict[str, str], fields: dict[str, str], word: str
) -> None:
    """An instruction or type that would be ignored is refused instead."""
    with pytest.raises(InvalidInputError, match=word):
        encode_request(
            space(prompts=prompts, default_instruction="d"), BERT, request(texts=["a"], **fields)
        )


def test_token_ids_take_no_prompt() -> None:
    """Tokens merge across the border, so ids and a prompt together are refused."""
    instructed = space(prompts={"query": INSTRUCTED}, default_instruction="find")
    with pytest.raises(InvalidInputError, match="cannot be given a prompt"):
        encode_request(instructed, BERT, request(token_ids=[[4]], input_type="query"))


@pytest.mark.parametrize("content", [None, "{}", "not json"], ids=["missing", "empty", "rubbish"])
def test_a_tokenizer_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, content: str | None
) -> None:
    """A missing or broken tokenizer.json stops the start with its path."""
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        HuggingFaceTokenizer.load(tmp_path, "org/m", None)
