"""A model folder's card holds what sentence-transformers would do with the folder."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

import describe
from faults import ModelLoadError
from model_card import read_model_card
from tests.backend.folders import edit_json, write_bert, write_qwen3

QUERY = "Instruct: {instruction}\nQuery:{text}"
OLD_POOLING = {"pooling_mode": None, "embedding_dimension": None, "word_embedding_dimension": 24}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    write_bert(tmp_path / "bert", ("mean",))
    return tmp_path / "bert"


@pytest.fixture
def qwen3(tmp_path: Path) -> Path:
    write_qwen3(tmp_path / "tiny", is_tied=True)
    return tmp_path / "tiny"


def test_the_demo_model(minilm: Path) -> None:
    """all-MiniLM-L6-v2: 384 dimensions, 256 tokens, mean pooling, [SEP] last, no prompts."""
    assert read_model_card(minilm).as_json() == {
        "dimensions": 384,
        "max_tokens": 256,
        "vocab_size": 30522,
        "pooling": "mean",
        "normalised": True,
        "terminal_token_id": 102,
        "matryoshka": None,
        "prompts": {"query": "{text}", "document": "{text}"},
        "default_instruction": None,
        "lowercases": False,
    }


def test_a_qwen3_embedding_folder(qwen3: Path) -> None:
    """Its query prompt tells the family: instruction, Matryoshka range, terminal token."""
    assert read_model_card(qwen3).as_json() == {
        "dimensions": 32,
        "max_tokens": 512,
        "vocab_size": 258,
        "pooling": "lasttoken",
        "normalised": True,
        "terminal_token_id": 256,
        "matryoshka": [32, 32],
        "prompts": {"query": QUERY, "document": "{text}"},
        "default_instruction": "Find the passage that answers",
        "lowercases": False,
    }


def test_a_bare_qwen3_embedding_folder(qwen3: Path) -> None:
    """Without modules.json the family's name is enough; without the name it is refused."""
    (qwen3 / "modules.json").unlink()
    (qwen3 / "config_sentence_transformers.json").unlink()
    card = read_model_card(qwen3, "Qwen/Qwen3-Embedding-0.6B").as_json()
    assert (card["pooling"], card["matryoshka"], card["normalised"]) == (
        "lasttoken",
        [32, 32],
        True,
    )
    assert card["default_instruction"].startswith("Given a web search query")
    with pytest.raises(ModelLoadError, match="its pooling is not known"):
        read_model_card(qwen3)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["cls", "mean"]}, "cls+mean"),
        ({**OLD_POOLING, "pooling_mode_max_tokens": True}, "max"),
        (
            {**OLD_POOLING, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "cls+mean",
        ),
        ({**OLD_POOLING, "pooling_mode_lasttoken": True}, "lasttoken"),
        ({**OLD_POOLING, "pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        (OLD_POOLING, "mean"),
    ],
    ids=["new", "new list", "old max", "old two", "old last", "old weighted", "old none"],
)
def test_pooling_in_old_and_new_words(bert: Path, pooling: dict[str, Any], expected: str) -> None:
    """Both ways of writing a pooling configuration mean the same; two modes double the width."""
    edit_json(bert / "1_Pooling" / "config.json", **pooling)
    card = read_model_card(bert).as_json()
    assert card["pooling"] == expected
    assert card["dimensions"] == 24 * len(expected.split("+"))


@pytest.mark.parametrize(
    ("module", "tokenizer", "config"),
    [
        ({}, {}, {}),
        ({"max_seq_length": 17}, {}, {}),
        ({}, {"model_max_length": 64}, {}),
        ({}, {"model_max_length": 100_000}, {}),
        ({}, {"model_max_length": None}, {}),
        ({"max_seq_length": 17, "processor_kwargs": {"model_max_length": 31}}, {}, {}),
        ({"max_seq_length": None, "tokenizer_args": {"model_max_length": 29}}, {}, {}),
    ],
    ids=["as saved", "stated", "tokenizer", "positions", "no length", "processor", "old arguments"],
)
def test_maximum_length_is_the_reference_s(
    bert: Path, module: dict[str, Any], tokenizer: dict[str, Any], config: dict[str, Any]
) -> None:
    """The maximum length is what sentence-transformers makes of the same folder."""
    edit_json(bert / "sentence_bert_config.json", **module)
    edit_json(bert / "tokenizer_config.json", **tokenizer)
    edit_json(bert / "config.json", **config)
    reference = SentenceTransformer(str(bert), device="cpu")
    assert read_model_card(bert).max_tokens == reference.max_seq_length


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [("bert", 128), ("roberta", 126), ("qwen3", 1000)],
    ids=["from 0", "from padding", "no table"],
)
def test_a_table_of_positions_is_never_left(bert: Path, model_type: str, expected: int) -> None:
    """A stated length beyond the model's position table is cut to the table."""
    edit_json(bert / "sentence_bert_config.json", max_seq_length=1000)
    edit_json(bert / "config.json", model_type=model_type, pad_token_id=1)
    assert read_model_card(bert).max_tokens == expected


@pytest.mark.parametrize(
    ("config", "query", "document"),
    [
        ({"prompts": {"query": "query: ", "passage": "passage: "}}, "query: ", "passage: "),
        ({"prompts": {"query": "q ", "document": "d ", "passage": "p "}}, "q ", "d "),
        ({"prompts": {"all": "x "}, "default_prompt_name": "all"}, "x ", "x "),
        ({"prompts": {"query": None}}, "", ""),
    ],
    ids=["passage", "document first", "default", "null"],
)
def test_prompts_are_templates(
    bert: Path, config: dict[str, Any], query: str, document: str
) -> None:
    """A plain prompt becomes a prefix of {text}."""
    edit_json(bert / "config_sentence_transformers.json", **config)
    prompts = read_model_card(bert).prompts
    assert prompts == {"query": query + "{text}", "document": document + "{text}"}


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (None, None),
        ({"type": "ByteLevel"}, None),
        ({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}, 2),
        ({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]}, None),
    ],
    ids=["none", "byte level", "roberta", "text last"],
)
def test_terminal_token(bert: Path, processor: dict[str, Any] | None, expected: int | None) -> None:
    """The terminal token is what the post-processor puts last, if it puts anything."""
    content = json.loads((bert / "tokenizer.json").read_text())
    content["post_processor"] = processor
    (bert / "tokenizer.json").write_text(json.dumps(content))
    assert read_model_card(bert).terminal_token_id == expected


def test_ids_beyond_the_model_are_not_valid(bert: Path) -> None:
    """A model with fewer rows than its tokenizer has ids limits the valid ids."""
    edit_json(bert / "config.json", vocab_size=200)
    assert read_model_card(bert).vocab_size == 200


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _change(name: str, **changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, **changes)


def _use_module(kind: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        entries = json.loads((folder / "modules.json").read_text())
        entries[2]["type"] = f"sentence_transformers.models.{kind}"
        (folder / "modules.json").write_text(json.dumps(entries))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove("config.json"), "no config.json"),
        (_remove("tokenizer.json"), "no tokenizer.json"),
        (_remove("modules.json"), "no modules.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read as JSON"),
        (_use_module("LSTM"), "'LSTM' is not supported"),
        (_use_module("Dense"), "gives no widths"),
        (_change("1_Pooling/config.json", pooling_mode="middle"), "'middle' is not supported"),
        (_change("1_Pooling/config.json", include_prompt=False), "without the prompt"),
        (_change("1_Pooling/config.json", embedding_dimension=None), "no embedding dimension"),
        (
            _change("2_Normalize/config.json", module_input_name="token_embeddings"),
            "module_input_name",
        ),
    ],
    ids=[
        "config",
        "tokenizer",
        "modules",
        "json",
        "unknown module",
        "dense",
        "pooling mode",
        "prompt",
        "width",
        "token vectors",
    ],
)
def test_unusable_folders_are_refused(
    bert: Path, damage: Callable[[Path], None], message: str
) -> None:
    """A folder that would be served wrong is refused with the reason."""
    damage(bert)
    with pytest.raises(ModelLoadError, match=message):
        read_model_card(bert)


def test_a_qwen3_tokenizer_without_terminal_token_is_refused(qwen3: Path) -> None:
    """The family's early files, which append nothing, would give another space's vectors."""
    content = json.loads((qwen3 / "tokenizer.json").read_text())
    content["post_processor"] = None
    (qwen3 / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelLoadError, match="no terminal token"):
        read_model_card(qwen3)


def test_describe_prints_one_json_object(qwen3: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`describe.py FOLDER` prints the card and exits 0."""
    assert describe.main([str(qwen3)]) == 0
    assert json.loads(capsys.readouterr().out) == read_model_card(qwen3).as_json()


def test_describe_refuses_in_one_sentence(tmp_path: Path) -> None:
    """On a folder that is not a model it exits 1 with one line; the standard library is enough."""
    finished = subprocess.run(
        [sys.executable, "-S", describe.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.count("\n") == 1
    assert "is not a model folder" in finished.stderr
