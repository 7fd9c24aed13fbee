"""What a model folder says about its vectors, read with the standard library alone.

The engine, `describe.py` and through it the router all take their facts from here, so that they
agree on pooling, terminal token, prompts and length.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import ModelLoadError
from model_files import read_object
from module_chain import ModuleChain, read_module_chain
from tokenizer_card import read_tokenizer_card

# sentence-transformers reads the first of these that exists.
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# The names under which sentence-transformers looks for a document's prompt, in its order.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_QWEN3_QUERY_PROMPT = re.compile(r"Instruct: (?P<instruction>.+)\nQuery:")
_QWEN3_DEFAULT_INSTRUCTION = (
    "Given a web search query, retrieve relevant passages that answer the query"
)
_QWEN3_SMALLEST_DIMENSION = 32
# Positions from a table that ends, counted from 0 or from one above the padding id.
_TABLES_FROM_0 = ("albert", "bert", "distilbert", "electra")
_TABLES_FROM_PADDING = ("camembert", "longformer", "mpnet", "roberta", "xlm-roberta")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The facts of one model that its vectors depend on.

    `max_tokens` counts special tokens. Ids are valid in `[0, vocab_size)`. `matryoshka` is the
    smallest and largest usable width. Prompts hold `{text}` and may hold `{instruction}`.
    `lowercases`: the text is lowercased before the tokenizer's own normaliser.
    """

    folder: Path
    chain: ModuleChain
    max_tokens: int
    vocab_size: int
    terminal_token_id: int | None
    matryoshka: tuple[int, int] | None
    prompts: dict[str, str]
    default_instruction: str | None
    lowercases: bool

    def as_json(self) -> dict[str, Any]:
        """Return what `describe.py` prints."""
        return {
            "dimensions": self.chain.dimensions,
            "max_tokens": self.max_tokens,
            "vocab_size": self.vocab_size,
            "pooling": "+".join(self.chain.pooling_modes),
            "normalised": self.chain.is_normalised,
            "terminal_token_id": self.terminal_token_id,
            "matryoshka": list(self.matryoshka) if self.matryoshka else None,
            "prompts": self.prompts,
            "default_instruction": self.default_instruction,
            "lowercases": self.lowercases,
        }


def read_model_card(folder: Path, model_name: str = "") -> ModelCard:
    """Read the card of a sentence-transformers or Qwen3-Embedding folder.

    `model_name` is the Hugging Face id where there is one: with the folder's own path it tells the
    Qwen3-Embedding family. Raises ModelLoadError with one sentence where the folder is not a model
    that this backend can serve.
    """
    if not folder.is_dir():
        raise ModelLoadError(f"the model folder {folder} does not exist")
    chain = read_module_chain(folder) or _bare_qwen3_chain(folder, model_name)
    weights = chain.transformer_folder
    config = read_object(weights / "config.json")
    if not config:
        raise ModelLoadError(f"{weights} holds no config.json")
    tokenizer = read_tokenizer_card(weights)
    settings = _transformer_settings(weights)
    named_prompts = _named_prompts(folder)
    is_qwen3 = _is_qwen3_embedding(config, chain, folder, model_name, named_prompts)
    if is_qwen3 and tokenizer.terminal_token_id is None:
        # The first published files lacked it: their vectors are another space's.
        raise ModelLoadError(f"{folder}: this Qwen3-Embedding tokenizer appends no terminal token")
    prompts, instruction = _qwen3_prompts(named_prompts) if is_qwen3 else (named_prompts, None)
    return ModelCard(
        folder=folder,
        chain=chain,
        max_tokens=_max_tokens(weights, config, settings),
        # Some models have fewer rows than their tokenizer has ids, and some have more.
        vocab_size=min(tokenizer.id_limit, int(config.get("vocab_size", tokenizer.id_limit))),
        terminal_token_id=tokenizer.terminal_token_id,
        matryoshka=(_QWEN3_SMALLEST_DIMENSION, chain.dimensions) if is_qwen3 else None,
        prompts=prompts,
        default_instruction=instruction,
        lowercases=bool(settings.get("do_lower_case", False)),
    )


def _bare_qwen3_chain(folder: Path, model_name: str) -> ModuleChain:
    """Return the chain of a Qwen3-Embedding folder without `modules.json`; refuse any other."""
    config = read_object(folder / "config.json")
    if not config:
        raise ModelLoadError(f"{folder} is not a model folder: no modules.json, no config.json")
    if config.get("model_type") != "qwen3" or not _is_named_qwen3(folder, model_name):
        raise ModelLoadError(f"{folder} holds no modules.json, so its pooling is not known")
    return ModuleChain(folder, ("lasttoken",), int(config["hidden_size"]), (), is_normalised=True)


def _is_named_qwen3(folder: Path, model_name: str) -> bool:
    # In the hub's cache the name stands two levels above the folder of the revision.
    names = [model_name, *folder.absolute().parts[-3:]]
    return any("qwen3-embedding" in name.lower() for name in names)


def _is_qwen3_embedding(
    config: dict[str, Any],
    chain: ModuleChain,
    folder: Path,
    model_name: str,
    prompts: dict[str, str],
) -> bool:
    if config.get("model_type") != "qwen3" or chain.pooling_modes != ("lasttoken",):
        return False
    query = prompts["query"].removesuffix("{text}")
    return _is_named_qwen3(folder, model_name) or bool(_QWEN3_QUERY_PROMPT.fullmatch(query))


def _qwen3_prompts(prompts: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return the family's templates and the instruction that the folder itself states."""
    stated = _QWEN3_QUERY_PROMPT.fullmatch(prompts["query"].removesuffix("{text}"))
    instruction = stated["instruction"] if stated else _QWEN3_DEFAULT_INSTRUCTION
    query = "Instruct: {instruction}\nQuery:{text}"
    return {"query": query, "document": "{text}"}, instruction


def _named_prompts(folder: Path) -> dict[str, str]:
    config = read_object(folder / "config_sentence_transformers.json")
    prefixes = config.get("prompts") or {}
    default = prefixes.get(config.get("default_prompt_name")) or ""
    query = prefixes.get("query", default) or ""
    document = next((prefixes[name] for name in _DOCUMENT_PROMPTS if name in prefixes), default)
    return {"query": f"{query}{{text}}", "document": f"{document or ''}{{text}}"}


def _transformer_settings(weights: Path) -> dict[str, Any]:
    found = (read_object(weights / name) for name in _TRANSFORMER_CONFIGS)
    return next((settings for settings in found if settings), {})


def _max_tokens(weights: Path, config: dict[str, Any], settings: dict[str, Any]) -> int:
    """Apply the rule of sentence_transformers.base.modules.transformer.Transformer.

    A length stated in the module's settings stands as it is; else the smaller of the tokenizer's
    and the model's counts. Beyond that rule, a table of positions is never left: the reference
    would fail there, and here it would take other requests with it.
    """
    stated = (settings.get("processor_kwargs") or settings.get("tokenizer_args") or {}).get(
        "model_max_length", settings.get("max_seq_length")
    )
    positions = config.get("max_position_embeddings", -1)
    if stated is None:
        tokenizer_length = read_object(weights / "tokenizer_config.json").get("model_max_length")
        lengths = [tokenizer_length, positions if positions != -1 else None]
        stated = min((length for length in lengths if length is not None), default=None)
    if stated is None or not 0 < stated < 2**31:
        raise ModelLoadError(f"{weights} states no maximum length")
    if config.get("model_type") in _TABLES_FROM_0:
        stated = min(stated, positions)
    elif config.get("model_type") in _TABLES_FROM_PADDING:
        stated = min(stated, positions - config.get("pad_token_id", 1) - 1)
    return int(stated)
