"""The packed Qwen3 pass gives what transformers gives, whatever the shape, length and company."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3Model

from attention import varlen_options
from engine import FP8_MIN_COSINE, Engine
from faults import ModelLoadError
from graphs import BUCKETS, bucket_for, fill
from model_card import read_model_card
from projection import Projection, quantise_rows
from qwen3_shape import read_qwen3_shape
from tests.backend.conftest import cosines
from tests.backend.folders import edit_json, write_qwen3
from tests.backend.test_engine import cpu_settings
from text_tokenizer import TextTokenizer

SHAPES: dict[str, dict[str, int]] = {
    "queries wider than hidden": {},
    "queries narrower than hidden": {"hidden_size": 64, "num_attention_heads": 2, "head_dim": 16},
    "every head its own key": {"num_key_value_heads": 4},
    "one key for all heads": {"num_key_value_heads": 1, "num_attention_heads": 6},
    "one layer": {"num_hidden_layers": 1},
    "large rotation base": {"rope_theta": 1_000_000},
}


@pytest.fixture(params=[*((n, True) for n in SHAPES), (next(iter(SHAPES)), False)], ids=str)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, is_tied = request.param
    write_qwen3(tmp_path / "model", is_tied=is_tied, **SHAPES[name])
    return tmp_path / "model"


def some_sequences(seed: int, longest: int) -> list[np.ndarray]:
    dice = np.random.default_rng(seed)
    lengths = [1, 2, 3, 3, 3, longest, *dice.integers(1, longest, 12)]
    random.Random(seed).shuffle(lengths)
    return [dice.integers(0, 258, length).astype(np.int32) for length in lengths]


def reference(folder: Path, sequences: list[np.ndarray]) -> np.ndarray:
    """Unit vectors by transformers, each sequence alone and unpadded, in float32."""
    model = Qwen3Model.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    rows = []
    with torch.inference_mode():
        for ids in sequences:
            hidden = model(input_ids=torch.from_numpy(ids).long()[None]).last_hidden_state
            rows.append(torch.nn.functional.normalize(hidden[0, -1], dim=0).numpy())
    return np.stack(rows)


def test_packed_and_alone_equal_transformers(folder: Path) -> None:
    """Lengths 1 to the maximum, packed, shuffled and alone: the reference's vectors."""
    engine = Engine(read_model_card(folder), cpu_settings(folder))
    sequences = some_sequences(1, 512)
    expected = reference(folder, sequences)
    packed = engine.embed(sequences)
    alone = np.concatenate([engine.embed([ids]) for ids in sequences])
    assert packed == pytest.approx(expected, abs=2e-5)
    assert alone == pytest.approx(expected, abs=2e-5)
    order = list(range(len(sequences)))
    random.Random(2).shuffle(order)
    assert engine.embed([sequences[n] for n in order]) == pytest.approx(packed[order], abs=1e-5)


def test_a_score_matrix_stays_within_the_gate(folder: Path) -> None:
    """Scores of every pair differ from the reference's by less than 3e-3."""
    engine = Engine(read_model_card(folder), cpu_settings(folder))
    sequences = some_sequences(3, 200)
    ours, theirs = engine.embed(sequences), reference(folder, sequences)
    assert np.abs(ours @ ours.T - theirs @ theirs.T).max() < 3e-3


def test_published_bfloat16_files_are_read_in_either_precision(tmp_path: Path) -> None:
    """A bfloat16 checkpoint runs exactly in float32, and in bfloat16 within cosine 0.999."""
    folder = tmp_path / "model"
    write_qwen3(folder, is_tied=True, dtype="bfloat16", hidden_size=128, initializer_range=0.05)
    card, sequences = read_model_card(folder), some_sequences(4, 300)
    expected = reference(folder, sequences)
    assert cosines(Engine(card, cpu_settings(folder)).embed(sequences), expected).min() > 0.99999
    rough = Engine(card, cpu_settings(folder, "bfloat16"))
    packed = rough.embed(sequences)
    assert cosines(packed, expected).min() >= 0.999
    alone = np.concatenate([rough.embed([ids]) for ids in sequences])
    assert cosines(packed, alone).min() >= 0.9999


def test_fp8_is_taken_only_where_it_passes_its_gate(tmp_path: Path) -> None:
    """A model whose FP8 vectors stay within 0.995 takes it; one whose don't keeps bfloat16."""
    sequences = some_sequences(5, 60)
    # Random layers add their errors up, as trained ones do not.
    for layers, is_taken in ((2, True), (12, False)):
        folder = tmp_path / str(layers)
        write_qwen3(
            folder, is_tied=True, hidden_size=128, intermediate_size=256,
            num_hidden_layers=layers, initializer_range=0.02,
        )  # fmt: skip
        engine = Engine(read_model_card(folder), cpu_settings(folder, "bfloat16"))
        before = engine.encoder
        cosine = engine.use_fp8(sequences)
        assert (cosine >= FP8_MIN_COSINE) is is_taken
        assert (engine.encoder is not before) is is_taken


def test_fp8_rows_have_scales_of_their_own() -> None:
    """One outlier costs its own row its digits and no other row's."""
    weight = torch.ones(3, 64)
    weight[1] *= 1e-3
    weight[2, 0] = 1e4
    rows, scales = quantise_rows(weight)
    restored = rows.float() * scales
    assert restored[0] == pytest.approx(weight[0], rel=0.07)
    assert restored[1] == pytest.approx(weight[1], rel=0.07)
    inputs = torch.randn(5, 64, generator=torch.Generator().manual_seed(5))
    exact, rounded = Projection(weight)(inputs), Projection(weight).in_fp8()(inputs)
    assert rounded[:, 0] == pytest.approx(exact[:, 0], abs=0.7)


def test_sharded_weights_are_one_model(tmp_path: Path) -> None:
    """Two shards and their index give the vectors of the one file that they were made of."""
    folder, sequences = tmp_path / "model", some_sequences(6, 50)
    write_qwen3(folder, is_tied=True)
    expected = Engine(read_model_card(folder), cpu_settings(folder)).embed(sequences)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / shard)
    index = {"weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    engine = Engine(read_model_card(folder), cpu_settings(folder))
    assert np.array_equal(engine.embed(sequences), expected)
    (folder / "b.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"b\.safetensors is missing or damaged"):
        Engine(read_model_card(folder), cpu_settings(folder))


def test_weights_under_a_language_model_s_names_are_found(tmp_path: Path) -> None:
    """Names that begin with `model.`, as a causal model saves them, are the same weights."""
    folder, sequences = tmp_path / "model", some_sequences(7, 50)
    write_qwen3(folder, is_tied=True)
    expected = Engine(read_model_card(folder), cpu_settings(folder)).embed(sequences)
    tensors = load_file(folder / "model.safetensors")
    save_file({f"model.{n}": t for n, t in tensors.items()}, folder / "model.safetensors")
    engine = Engine(read_model_card(folder), cpu_settings(folder))
    assert np.array_equal(engine.embed(sequences), expected)


def test_weights_of_another_shape_are_one_sentence(tmp_path: Path) -> None:
    """A configuration that does not fit its weights is refused with the tensor's name."""
    write_qwen3(tmp_path / "model", is_tied=True)
    edit_json(tmp_path / "model" / "config.json", intermediate_size=64)
    with pytest.raises(ModelLoadError, match=r"gate_proj.weight has the shape \[48, 32\]"):
        Engine(read_model_card(tmp_path / "model"), cpu_settings(tmp_path / "model"))


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True},
        {"use_sliding_window": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6}},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"model_type": "qwen2"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_unusual_models_take_the_general_path(tmp_path: Path, changes: dict[str, object]) -> None:
    """What the packed pass does not compute is not given to it."""
    write_qwen3(tmp_path / "model", is_tied=True)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert read_qwen3_shape(config) is not None
    assert read_qwen3_shape({**config, **changes}) is None


def test_composed_and_decomposed_text_are_one(qwen3_folder: Path) -> None:
    """NFC and NFD forms of a text have the same ids, and so the same vector."""
    tokenise = TextTokenizer(read_model_card(qwen3_folder))
    composed, decomposed = tokenise(["caf\u00e9 \u30ac", "cafe\u0301 \u30ab\u3099"])
    assert composed.tolist() == decomposed.tolist()


def test_the_terminal_token_decides_the_vector(qwen3_folder: Path) -> None:
    """A sequence without its terminal token has another vector: the router puts it back."""
    card = read_model_card(qwen3_folder)
    engine = Engine(card, cpu_settings(qwen3_folder))
    (whole,) = TextTokenizer(card)(["a harbour in the morning"])
    assert whole[-1] == card.terminal_token_id
    assert cosines(engine.embed([whole]), engine.embed([whole[:-1]])).max() < 0.99


def test_short_batches_filled_to_a_bucket_keep_their_vectors(qwen3_folder: Path) -> None:
    """What fills a recording's bucket is nobody's, and changes nobody's vector."""
    engine = Engine(read_model_card(qwen3_folder), cpu_settings(qwen3_folder))
    for lengths in ((1,), (12,), (30, 2), (5, 6, 7), (100,), (3,) * 20, (480,)):
        bucket = bucket_for(lengths)
        assert bucket in BUCKETS
        sequences = [np.arange(1, length + 1, dtype=np.int32) % 250 for length in lengths]
        filled = fill(sequences, bucket)
        assert (sum(map(len, filled)), len(filled)) == (bucket.tokens, bucket.sequences)
        vectors = engine.embed(filled)[: len(sequences)]
        assert vectors == pytest.approx(engine.embed(sequences), abs=1e-5)
    assert bucket_for((513,)) is None
    assert bucket_for((2,) * 100) is None


def test_varlen_options_follow_the_signature() -> None:
    """Each release of torch is told causality and shared heads in its own words."""

    def of_2_10(q, k, v, cu_q, cu_k, max_q, max_k, is_causal=False): ...  # noqa: ANN001, ANN202

    def of_2_12(q, k, v, cu_q, cu_k, max_q, max_k, *, window_size=(-1, -1), enable_gqa=False): ...  # noqa: ANN001, ANN202

    def unknown(q, k, v): ...  # noqa: ANN001, ANN202

    assert varlen_options(of_2_10, causal=True) == {"is_causal": True}
    assert varlen_options(of_2_12, causal=True) == {"window_size": (-1, 0), "enable_gqa": True}
    assert varlen_options(of_2_12, causal=False)["window_size"] == (-1, -1)
    with pytest.raises(TypeError, match="neither"):
        varlen_options(unknown, causal=True)
    from torch.nn.attention.varlen import varlen_attn

    assert "window_size" in varlen_options(varlen_attn, causal=True)


_PEAK = """
import resource, sys, torch
import numpy as np
from pathlib import Path
from engine import Engine
from jobs import Job
from scheduling import Scheduler
from model_card import read_model_card
from settings import Settings
from qwen3 import peak_activation_bytes
torch.set_num_threads(1)
folder = Path(sys.argv[1])
card = read_model_card(folder)
engine = Engine(card, Settings(str(folder), None, 1024, "float32", "cpu", 1024, 60))
engine.embed([np.arange(8, dtype=np.int32)])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
engine.embed([np.arange(8192, dtype=np.int32) % 250])
grown = peak() - before
first = peak()
rng = np.random.default_rng(0)
work = Scheduler(engine.begin, 1024, 256)
def job():
    lengths = rng.integers(1, 40, rng.integers(1, 5))
    texts = [rng.integers(0, 250, n).astype(np.int32) for n in lengths]
    return Job(texts, (1, len(texts)), lambda: False, lambda job: None)
for _ in range(int(sys.argv[2]) // 20):
    work.add([job() for _ in range(20)])
    while work.has_work:
        assert all(done.fault is None for done in work.step(lambda: None))
bound = peak_activation_bytes(engine.encoder._shape, 8192, 1024, 4)
print(grown, bound, peak() - first)
"""


def test_memory_is_bounded_and_does_not_grow(tmp_path: Path) -> None:
    """A lone long document stays within the stated peak; 10,000 mixed requests then add nothing."""
    folder = tmp_path / "model"
    write_qwen3(
        folder, is_tied=True, max_tokens=8192, hidden_size=128, intermediate_size=512,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
    )  # fmt: skip
    backend = Path(__file__).resolve().parents[2] / "backends/embedding"
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(folder), "10000"],
        cwd=backend, capture_output=True, text=True, check=True,
    )  # fmt: skip
    grown, bound, later = map(int, done.stdout.split())
    # The allocator rounds and keeps some; a second copy of anything large would not pass.
    assert grown <= bound * 1.1 + 2**23
    assert later < 2**23
