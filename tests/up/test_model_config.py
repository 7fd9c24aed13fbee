"""The run-time model repository."""

import struct
from pathlib import Path

import pytest
from tritonclient.grpc import model_config_pb2

from router.up.assets import Assets
from router.up.errors import UpError
from router.up.model_card import ModelCard
from router.up.model_config import parameter, read_config, write_model


def _write(assets: Assets, tmp_path: Path, *, max_tokens: int = 256) -> Path:
    card = ModelCard(dimensions=48, max_tokens=max_tokens, prompts={})
    folder = tmp_path / "tiny_model"
    write_model(assets.models / "all_minilm_l6_v2", folder, tmp_path, card)
    return folder


def test_only_the_model_changes(assets: Assets, tmp_path: Path) -> None:
    """Name, weights and dimensions are the model's own; all else is the template's."""
    written = read_config(_write(assets, tmp_path))
    template = read_config(assets.models / "all_minilm_l6_v2")
    assert written.name == "tiny_model"
    assert parameter(written, "model") == str(tmp_path)
    assert parameter(written, "revision") is None
    assert list(written.output[0].dims) == [-1, 48]
    written.name = template.name
    written.parameters["model"].CopyFrom(template.parameters["model"])
    written.parameters["revision"].CopyFrom(template.parameters["revision"])
    written.output[0].dims[-1] = template.output[0].dims[-1]
    assert written == template


def test_warm_up_fits_short_models(assets: Assets, tmp_path: Path) -> None:
    """A model of 40 tokens is warmed up with no sequence longer than that."""
    folder = _write(assets, tmp_path, max_tokens=40)
    lengths = struct.unpack("<5i", (folder / "warmup/lengths").read_bytes())
    assert lengths == (16, 40, 40, 40, 40)
    inputs = read_config(folder).model_warmup[0].inputs
    assert list(inputs["INPUT_IDS"].dims) == [sum(lengths)]
    assert list(inputs["LENGTHS"].dims) == [5]


def test_every_published_model_can_be_written(assets: Assets, tmp_path: Path) -> None:
    """Each configuration parses, names its folder, and says its model unless an engine holds it."""
    for path in assets.models.glob("*/config.pbtxt"):
        config = read_config(path.parent)
        assert isinstance(config, model_config_pb2.ModelConfig)
        assert config.name == path.parent.name
        assert parameter(config, "model") or config.platform == "tensorrt_plan"
    assert (_write(assets, tmp_path) / "1").is_dir()


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    """A config.pbtxt that does not parse is named with the place of the mistake."""
    (tmp_path / "config.pbtxt").write_text("name: unquoted {")
    with pytest.raises(UpError, match=r"config\.pbtxt is not a model configuration: 1:7"):
        read_config(tmp_path)
