"""What a `tokenizer.json` says about itself, read without the tokenizers library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import ModelLoadError
from model_files import read_object


@dataclass(frozen=True, slots=True)
class TokenizerCard:
    """`id_limit`: one above the highest token id. `terminal_token_id`: appended to each text."""

    id_limit: int
    terminal_token_id: int | None


def read_tokenizer_card(folder: Path) -> TokenizerCard:
    """Raise ModelLoadError where the folder has no readable `tokenizer.json`."""
    content = read_object(folder / "tokenizer.json")
    if not content:
        raise ModelLoadError(f"{folder} holds no tokenizer.json")
    ids = _vocabulary_ids(content.get("model") or {})
    ids.extend(token["id"] for token in content.get("added_tokens") or ())
    if not ids:
        raise ModelLoadError(f"{folder / 'tokenizer.json'} holds no vocabulary")
    return TokenizerCard(max(ids) + 1, _terminal_token_id(content.get("post_processor")))


def _vocabulary_ids(model: dict[str, Any]) -> list[int]:
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, dict):
        return list(vocabulary.values())
    # A Unigram vocabulary is a list of (token, score): the place is the id.
    return list(range(len(vocabulary)))


def _terminal_token_id(post_processor: dict[str, Any] | None) -> int | None:
    """Return the id that the post-processor puts last, None where the text itself comes last."""
    if post_processor is None:
        return None
    kind = post_processor.get("type")
    if kind == "Sequence":
        last = (_terminal_token_id(part) for part in reversed(post_processor["processors"]))
        return next((token_id for token_id in last if token_id is not None), None)
    if kind in ("BertProcessing", "RobertaProcessing"):
        return int(post_processor["sep"][1])
    if kind == "TemplateProcessing" and "SpecialToken" in post_processor["single"][-1]:
        name = post_processor["single"][-1]["SpecialToken"]["id"]
        return int(post_processor["special_tokens"][name]["ids"][-1])
    return None
