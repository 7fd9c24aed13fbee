"""The exported graph gives the vectors that transformers gives, whatever shares its batch."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession, SessionOptions
from transformers import Qwen3Model

import export
from export_files import DATA, GRAPH, RECORD, sha256
from tests.backend.folders import edit_json
from tests.tensorrt.models import (
    MAX_TOKENS,
    SHAPES,
    padded,
    random_sequences,
    reference,
    write_model,
)

# Those that the parser of TensorRT 10.1 documents for bfloat16, float32 and INT32.
READ_BY_TENSORRT = {
    "Add", "Cast", "Concat", "Div", "Expand", "Gather", "GatherND", "Identity", "LessOrEqual",
    "MatMul", "Mul", "Neg", "ReduceMean", "ReduceSum", "Reshape", "Shape", "Sigmoid", "Slice",
    "Softmax", "Split", "Sqrt", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """A model, and its float32 graph in onnxruntime."""

    model: Qwen3Model
    folder: Path
    graph: Path
    session: InferenceSession

    def embed(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        (vectors,) = self.session.run(["EMBEDDING"], inputs)
        return np.asarray(vectors)


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("qwen3")
    model = write_model(folder / "model", request.param)
    arguments = ["--dtype", "float32", "--max-tokens", str(MAX_TOKENS)]
    assert export.main([str(folder / "model"), str(folder / "onnx"), *arguments]) == 0
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(folder / "onnx" / GRAPH, options)
    return Exported(model, folder / "model", folder / "onnx", session)


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1)


def test_every_length_equals_transformers(exported: Exported) -> None:
    """Lengths 1 … maximum, shuffled and padded into batches of 16, are the reference's."""
    lengths = np.random.default_rng(1).permutation(
        [*range(1, 34), 64, 127, 128, 129, 256, MAX_TOKENS]
    )
    sequences = random_sequences(lengths)
    expected = reference(exported.model, sequences)
    for start in range(0, len(sequences), 16):
        ours = exported.embed(padded(sequences[start : start + 16]))
        assert ours.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
        assert cosines(ours, expected[start : start + 16]).min() >= 0.99999


@pytest.mark.parametrize("count", [1, 2, 8, 33])
def test_a_sequence_is_the_same_alone(exported: Exported, count: int) -> None:
    """Neither the batch's size nor its longest member changes a vector."""
    sequences = random_sequences([3, 200, 1, 40, 17, 90, 2, 64] * 5)[:count]
    together = exported.embed(padded(sequences))
    alone = np.concatenate([exported.embed(padded([ids])) for ids in sequences])
    assert cosines(together, alone).min() >= 0.9999


def test_what_stands_in_the_padding_is_never_seen(exported: Exported) -> None:
    """Another id there gives the very same bits."""
    sequences = random_sequences([5, 60, 1])
    one, other = (exported.embed(padded(sequences, padding)) for padding in (0, 259))
    assert np.array_equal(one, other)


def test_the_bfloat16_graph_is_within_its_gate(exported: Exported, tmp_path: Path) -> None:
    """In ONNX's own evaluator, since onnxruntime has no bfloat16 on a CPU: cosine ≥ 0.999."""
    arguments = [str(exported.folder), str(tmp_path), "--max-tokens", str(MAX_TOKENS)]
    assert export.main(arguments) == 0
    sequences = random_sequences([7, 1, 33, 20])
    (ours,) = ReferenceEvaluator(str(tmp_path / GRAPH)).run(None, padded(sequences))
    assert cosines(ours, reference(exported.model, sequences)).min() >= 0.999
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / GRAPH).graph.initializer}
    assert onnx.TensorProto.BFLOAT16 in kinds
    assert onnx.TensorProto.FLOAT16 not in kinds


def test_the_graph_is_small_and_its_weights_stand_beside_it(exported: Exported) -> None:
    """Weights are external, so that 8 GB of them pass protobuf's 2 GB."""
    model = onnx.load(exported.graph / GRAPH, load_external_data=False)
    inside = [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_location != onnx.TensorProto.EXTERNAL and np.prod(tensor.dims) > 512
    ]
    assert inside == []
    assert not any(entry.name.endswith("lm_head.weight") for entry in model.graph.initializer)


def test_tensorrt_reads_every_operator(exported: Exported) -> None:
    """Only operators that its parser documents, and axes where it wants them: as constants."""
    graph = onnx.load(exported.graph / GRAPH, load_external_data=False).graph
    assert {node.op_type for node in graph.node} <= READ_BY_TENSORRT
    constants = {initializer.name for initializer in graph.initializer}
    for node in graph.node:
        if node.op_type in {"ReduceMean", "ReduceSum", "Split", "Unsqueeze"}:
            assert node.input[1] in constants
        if node.op_type == "Slice":
            assert node.input[3] in constants


def test_the_record_says_what_it_was_made_from(exported: Exported) -> None:
    """Hashes of every file that was read and written."""
    record = json.loads((exported.graph / RECORD).read_text())
    assert (record["dtype"], record["max_tokens"]) == ("float32", MAX_TOKENS)
    assert record["files"] == {name: sha256(exported.graph / name) for name in (GRAPH, DATA)}
    sources = ["config.json", *(path.name for path in exported.folder.glob("*.safetensors"))]
    assert record["source"] == {name: sha256(exported.folder / name) for name in sources}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "llama"}, "another model type than qwen3"),
        ({"attention_bias": True}, "a bias on attention"),
        ({"hidden_act": "gelu"}, "another activation than SiLU"),
        ({"use_sliding_window": True}, "sliding windows"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding windows"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "scaled rotary positions"),
        ({"hidden_size": None}, "does not say hidden_size"),
        ({"num_key_value_heads": 3}, "do not share 3 keys evenly"),
        ({"hidden_size": 36}, "has shape (260, 32), expected (260, 36)"),
        ({"max_position_embeddings": 100}, "the model has 100 positions"),
    ],
    ids=str,
)
def test_a_model_that_the_graph_cannot_do_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    sentence: str,
) -> None:
    """One sentence says why, and nothing is left that looks complete."""
    write_model(tmp_path / "model", SHAPES["wide queries, grouped heads"])
    edit_json(tmp_path / "model" / "config.json", **changes)
    capsys.readouterr()
    given = [str(tmp_path / "model"), str(tmp_path / "onnx"), "--max-tokens", str(MAX_TOKENS)]
    assert export.main(given) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert not (tmp_path / "onnx" / RECORD).exists()


def test_old_files_state_theta_at_the_top(tmp_path: Path) -> None:
    """The published config.json has rope_theta beside the sizes; it is used all the same."""
    model = write_model(tmp_path / "model", SHAPES["as many keys as queries"])
    edit_json(tmp_path / "model" / "config.json", rope_parameters=None, rope_theta=1e6)
    given = [str(tmp_path / "model"), str(tmp_path / "onnx"), "--dtype", "float32"]
    assert export.main([*given, "--max-tokens", "64"]) == 0
    sequences = random_sequences([64, 9])
    (ours,) = InferenceSession(tmp_path / "onnx" / GRAPH).run(None, padded(sequences))
    assert cosines(ours, reference(model, sequences)).min() >= 0.99999
