"""The engine's vectors are those of sentence-transformers on the same weights."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from engine import Engine
from faults import EngineError, ModelLoadError
from model_card import read_model_card
from packing import cut_by_tokens
from settings import Settings, is_fast_at_bfloat16, read_settings
from tests.backend.conftest import cosines
from tests.backend.folders import edit_json, write_bert, write_qwen3
from text_tokenizer import TextTokenizer

WORDS = [
    "import",
    "caf\u00e9",
    "cafe\u0301",
    "日本語",
    "the",
    "quick",
    "fox",
    "🙂",
    ",",
    "?",
    "1234",
]

FOLDERS: dict[str, Callable[[Path], None]] = {
    "qwen3 tied": lambda folder: write_qwen3(folder, is_tied=True),
    "qwen3 untied": lambda folder: write_qwen3(folder, is_tied=False),
    "bert cls": lambda folder: write_bert(folder, ("cls",)),
    "bert mean": lambda folder: write_bert(folder, ("mean",)),
    "bert max": lambda folder: write_bert(folder, ("max",)),
    "bert sqrt": lambda folder: write_bert(folder, ("mean_sqrt_len_tokens",)),
    "bert weighted": lambda folder: write_bert(folder, ("weightedmean",)),
    "bert last": lambda folder: write_bert(folder, ("lasttoken",)),
    "bert concatenated": lambda folder: write_bert(folder, ("cls", "max", "mean")),
    "bert dense": lambda folder: write_bert(folder, ("mean",), dense=(20, 12)),
}


def cpu_settings(folder: Path, dtype: str = "float32") -> Settings:
    return Settings(str(folder), None, 512, dtype, "cpu", 128, 60)


def some_texts(seed: int, longest: int) -> list[str]:
    """Texts from one letter up to `longest` bytes, in no order of length."""
    dice = random.Random(seed)
    texts = ["a", "import numpy", "Ünï" * 3]
    for _ in range(20):
        text = " ".join(dice.choices(WORDS, k=dice.randint(1, 30)))
        texts.append(text.encode()[: dice.randint(1, longest)].decode("utf-8", "ignore") or "b")
    dice.shuffle(texts)
    return texts


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = tmp_path / "model"
    FOLDERS[request.param](made)
    return made


def embed_in_batches(engine: Engine, sequences: list[np.ndarray], max_tokens: int) -> np.ndarray:
    vectors = np.zeros((len(sequences), engine.card.chain.dimensions), np.float32)
    for batch in cut_by_tokens([len(ids) for ids in sequences], max_tokens):
        vectors[batch] = engine.embed([sequences[place] for place in batch])
    return vectors


def test_vectors_equal_sentence_transformers(folder: Path) -> None:
    """Alone, in batches and shuffled, each vector is the reference's within cosine 0.9999."""
    card = read_model_card(folder)
    engine = Engine(card, cpu_settings(folder))
    texts = some_texts(3, card.max_tokens - 8)
    sequences = TextTokenizer(card)(texts)
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts)

    alone = np.concatenate([engine.embed([ids]) for ids in sequences])
    assert cosines(alone, expected).min() >= 0.9999
    for max_tokens in (1, 64, 100_000):
        together = embed_in_batches(engine, sequences, max_tokens)
        assert cosines(together, alone).min() >= 0.99999
    assert np.linalg.norm(alone, axis=1) == pytest.approx(1, abs=1e-6)


def test_the_longest_input_is_served(folder: Path) -> None:
    """A sequence of exactly the maximum length gives the vector of the reference's truncation."""
    card = read_model_card(folder)
    engine = Engine(card, cpu_settings(folder))
    reference = SentenceTransformer(str(folder), device="cpu")
    features = reference.tokenizer(["x" * 2000], truncation=True, max_length=card.max_tokens)
    ids = np.array(features["input_ids"][0], np.int32)
    assert len(ids) == card.max_tokens
    assert cosines(engine.embed([ids]), reference.encode(["x" * 2000])).min() >= 0.9999


def test_the_demo_model_equals_its_reference(minilm: Path) -> None:
    """all-MiniLM-L6-v2, real weights, gives the reference's vectors for mixed lengths."""
    card = read_model_card(minilm)
    engine = Engine(card, cpu_settings(minilm))
    texts = some_texts(5, 400)
    vectors = embed_in_batches(engine, TextTokenizer(card)(texts), 1024)
    expected = SentenceTransformer(str(minilm), device="cpu").encode(texts)
    assert cosines(vectors, expected).min() >= 0.9999


def test_bfloat16_stays_close(qwen3_folder: Path) -> None:
    """Bfloat16 weights move a vector by less than 0.001 of cosine."""
    card = read_model_card(qwen3_folder)
    sequences = TextTokenizer(card)(["a short text", "import this"])
    exact = Engine(card, cpu_settings(qwen3_folder)).embed(sequences)
    rounded = Engine(card, cpu_settings(qwen3_folder, "bfloat16")).embed(sequences)
    assert rounded.dtype == np.float32
    assert cosines(rounded, exact).min() >= 0.999


def test_a_vector_that_is_not_finite_is_refused(qwen3_folder: Path) -> None:
    """A vector without a direction is an engine error and never an answer."""
    engine = Engine(read_model_card(qwen3_folder), cpu_settings(qwen3_folder))
    engine.encoder._weights.final_norm.fill_(float("nan"))
    with pytest.raises(EngineError, match="not finite"):
        engine.embed([np.array([1, 2], np.int32)])


def test_damaged_weights_are_one_sentence(tmp_path: Path) -> None:
    """Weights that cannot be read are a load error that names the folder, in one line."""
    write_bert(tmp_path / "model", ("mean",))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelLoadError, match=r"the weights in .*model cannot be loaded") as error:
        Engine(read_model_card(tmp_path / "model"), cpu_settings(tmp_path / "model"))
    assert "\n" not in str(error.value)


def test_text_is_lowercased_where_the_model_says_so(tmp_path: Path) -> None:
    """`do_lower_case` lowers the text before the tokenizer's own normaliser."""
    write_bert(tmp_path / "model", ("mean",))
    edit_json(tmp_path / "model" / "sentence_bert_config.json", do_lower_case=True)
    tokenise = TextTokenizer(read_model_card(tmp_path / "model"))
    assert tokenise(["ABC"])[0].tolist() == tokenise(["abc"])[0].tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "'model' is missing"),
        ({"model": "m", "dtype": "float16"}, "'dtype' is 'float16'"),
        ({"model": "m", "max_batch_tokens": "-1"}, "'max_batch_tokens' is '-1'"),
    ],
    ids=["no model", "float16", "negative budget"],
)
def test_settings_without_meaning_are_refused(parameters: dict[str, str], message: str) -> None:
    """A parameter that is missing or wrong is a load error that names it."""
    config = {"parameters": {key: {"string_value": text} for key, text in parameters.items()}}
    with pytest.raises(ModelLoadError, match=message):
        read_settings(config)


@pytest.mark.parametrize(("is_fast", "dtype"), [(False, "float32"), (True, "bfloat16")])
def test_the_instance_decides_device_and_dtype(
    monkeypatch: pytest.MonkeyPatch, is_fast: bool, dtype: str
) -> None:
    """A GPU instance runs in bfloat16 on its own device, a CPU's in what the CPU is fast at."""
    monkeypatch.setattr("settings.is_fast_at_bfloat16", lambda cpuinfo: is_fast)
    config = {"parameters": {"model": {"string_value": "m"}}}
    on_gpu, on_cpu = read_settings(config, "GPU", "3"), read_settings(config)
    assert (on_gpu.device, on_gpu.dtype) == ("cuda:3", "bfloat16")
    assert (on_cpu.device, on_cpu.dtype) == ("cpu", dtype)


@pytest.mark.parametrize(
    ("flags", "is_fast"),
    [("sse4_2 avx512f", False), ("avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True)],
)
def test_a_processor_says_whether_it_is_fast_at_bfloat16(
    tmp_path: Path, flags: str, is_fast: bool
) -> None:
    """By its flags; one that says nothing is not."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
    assert is_fast_at_bfloat16(tmp_path / "cpuinfo") is is_fast
    assert not is_fast_at_bfloat16(tmp_path / "none")
