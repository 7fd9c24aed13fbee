"""The published model configurations and the batch strategy are what Triton needs."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from profiles import DEFAULT_PROFILES
from settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
DIMENSIONS = {"all_minilm_l6_v2": 384, "qwen3_embedding_0_6b": 1024, "qwen3_embedding_4b": 2560}

TENSORRT = "qwen3_embedding_4b_tensorrt"


@pytest.fixture(params=DIMENSIONS)
def folder(request: pytest.FixtureRequest) -> Path:
    return ROOT / "model_repository" / request.param


@pytest.fixture
def config(folder: Path) -> pb.ModelConfig:
    return read(folder)


def read(folder: Path) -> pb.ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), pb.ModelConfig())


def names_of_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_there_is_a_case_for_each_model() -> None:
    """Every folder of the repository is checked here."""
    assert {path.name for path in (ROOT / "model_repository").iterdir()} == {*DIMENSIONS, TENSORRT}


def test_tensors(folder: Path, config: pb.ModelConfig) -> None:
    """Three optional ragged inputs, and one output of the model's width."""
    assert (config.name, config.backend) == (folder.name, "embedding")
    types = {tensor.name: tensor.data_type for tensor in config.input}
    assert types == {"INPUT_IDS": pb.TYPE_INT32, "LENGTHS": pb.TYPE_INT32, "TEXT": pb.TYPE_STRING}
    for tensor in config.input:
        assert (tensor.optional, tensor.allow_ragged_batch, list(tensor.dims)) == (True, True, [-1])
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [
        ("EMBEDDING", pb.TYPE_FP32, [-1, DIMENSIONS[folder.name]])
    ]


def test_batching_keeps_prefetch_on(config: pb.ModelConfig) -> None:
    """A short delay, and nothing that turns the preparation of the next batch off."""
    batching = config.dynamic_batching
    assert config.max_batch_size >= 64
    assert 0 < batching.max_queue_delay_microseconds <= 1000
    assert not batching.priority_levels
    assert not batching.HasField("default_queue_policy")
    assert not config.response_cache.enable
    assert [group.kind for group in config.instance_group] == [pb.ModelInstanceGroup.KIND_AUTO]


def test_parameters_are_settings(config: pb.ModelConfig) -> None:
    """The backend reads model, budget and dtype from the parameters."""
    parameters = {key: {"string_value": p.string_value} for key, p in config.parameters.items()}
    assert set(parameters) == {"model", "revision", "max_batch_tokens", "dtype"}
    settings = read_settings({"parameters": parameters}, "GPU", "0")
    assert settings.max_batch_tokens == int(parameters["max_batch_tokens"]["string_value"])
    assert (settings.dtype, settings.revision) == ("bfloat16", None)


def test_warmup_is_a_valid_request(folder: Path, config: pb.ModelConfig) -> None:
    """The warm-up's lengths fit its ids and the smallest model's 256 tokens."""
    (warmup,) = config.model_warmup
    data = (folder / "warmup" / warmup.inputs["LENGTHS"].input_data_file).read_bytes()
    lengths = [length for (length,) in struct.iter_unpack("<i", data)]
    assert list(warmup.inputs["LENGTHS"].dims) == [len(lengths)]
    assert list(warmup.inputs["INPUT_IDS"].dims) == [sum(lengths)]
    assert 1 <= min(lengths) <= max(lengths) <= 256


def test_no_weights_and_no_code_are_published(folder: Path) -> None:
    """A model's folder is configuration, a version folder, a warm-up, perhaps golden vectors."""
    assert names_of_files(folder) - {"golden.json"} == {
        "config.pbtxt",
        "1/.gitkeep",
        "warmup/lengths",
    }


def test_the_tensorrt_model_takes_whole_padded_batches() -> None:
    """Its shapes hold the axis of sequences, and nothing lets Triton join requests."""
    config = read(ROOT / "model_repository" / TENSORRT)
    assert (config.name, config.platform, config.max_batch_size) == (TENSORRT, "tensorrt_plan", 0)
    assert not config.HasField("dynamic_batching")
    assert not config.response_cache.enable
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [
        ("INPUT_IDS", pb.TYPE_INT32, [-1, -1]),
        ("LENGTHS", pb.TYPE_INT32, [-1]),
    ]
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [
        ("EMBEDDING", pb.TYPE_FP32, [-1, DIMENSIONS["qwen3_embedding_4b"]])
    ]


def test_the_tensorrt_model_has_all_profiles_in_one_group() -> None:
    """An instance that lacked one would fail every request of that shape it was given."""
    config = read(ROOT / "model_repository" / TENSORRT)
    (group,) = config.instance_group
    assert group.kind == pb.ModelInstanceGroup.KIND_GPU
    assert list(group.profile) == [str(number) for number in range(len(DEFAULT_PROFILES))]
    strategy = config.parameters["execution_context_allocation_strategy"]
    assert strategy.string_value == "ON_PROFILE_CHANGE"


def test_the_tensorrt_model_warms_each_profile_at_its_largest() -> None:
    """The sequences of a warm-up have the profile's full length, in its published file."""
    folder = ROOT / "model_repository" / TENSORRT
    warmups = read(folder).model_warmup
    shapes = [list(warmup.inputs["INPUT_IDS"].dims) for warmup in warmups]
    assert shapes == [[profile.rows, profile.tokens] for profile in DEFAULT_PROFILES]
    files = {"config.pbtxt", "1/.gitkeep"}
    for warmup, (rows, tokens) in zip(warmups, shapes, strict=True):
        lengths = warmup.inputs["LENGTHS"]
        assert list(lengths.dims) == [rows]
        data = (folder / "warmup" / lengths.input_data_file).read_bytes()
        assert struct.unpack(f"<{rows}i", data) == (tokens,) * rows
        files.add(f"warmup/{lengths.input_data_file}")
    assert names_of_files(folder) - {"1/model.plan", "1/build.json"} == files


def test_the_batch_strategy_compiles_without_a_warning(tmp_path: Path) -> None:
    """Strict C flags find nothing, and the five functions are exported."""
    compiler = shutil.which("cc") or "gcc"
    source, library = ROOT / "deploy/triton/batch_strategy.c", tmp_path / "batchstrategy.so"
    flags = ["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", library, source], check=True)
    exported = library.read_bytes()
    for name in (
        "ModelBatcherInitialize",
        "ModelBatcherFinalize",
        "ModelBatchInitialize",
        "ModelBatchIncludeRequest",
        "ModelBatchFinalize",
    ):
        assert f"TRITONBACKEND_{name}".encode() in exported
