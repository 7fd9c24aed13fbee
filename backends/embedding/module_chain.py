"""What happens to a model's token vectors: the modules that follow the Transformer.

Reads `modules.json` and the modules' own configurations as sentence-transformers does, in its old
form (`pooling_mode_cls_token: true`) and its new one (`pooling_mode: "cls"`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import ModelLoadError
from model_files import read_list, read_object

POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

# The order is that in which sentence-transformers concatenates several modes.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """One Dense module: `activation(x W + b)`, with its weights in `folder`."""

    folder: Path
    in_features: int
    out_features: int
    has_bias: bool
    activation: str
    is_residual: bool


@dataclass(frozen=True, slots=True)
class ModuleChain:
    """The way from token vectors (tokens, hidden) to one vector (dimensions,)."""

    transformer_folder: Path
    pooling_modes: tuple[str, ...]
    hidden_size: int
    dense_layers: tuple[DenseLayer, ...]
    is_normalised: bool

    @property
    def dimensions(self) -> int:
        """The width of the answer."""
        if self.dense_layers:
            return self.dense_layers[-1].out_features
        return self.hidden_size * len(self.pooling_modes)


def read_module_chain(folder: Path) -> ModuleChain | None:
    """Return the chain in the folder's `modules.json`, or None where there is no such file.

    Raises ModelLoadError where a module is unknown, misplaced or configured in a way that this
    backend would get wrong.
    """
    entries = read_list(folder / "modules.json")
    if not entries:
        return None
    kinds = [str(entry.get("type", "")).rpartition(".")[2] for entry in entries]
    folders = [folder / str(entry.get("path", "")) for entry in entries]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise ModelLoadError(f"{folder}: modules are {kinds}, not Transformer, Pooling, …")
    hidden_size, modes = _read_pooling(folders[1])
    dense_layers: list[DenseLayer] = []
    for kind, module_folder in zip(kinds[2:], folders[2:], strict=True):
        if kind == "Dense":
            dense_layers.append(_read_dense(module_folder))
        elif kind == "Normalize":
            _refuse_other_features(module_folder)
        else:
            raise ModelLoadError(f"{folder}: the module type {kind!r} is not supported")
    # A vector normalised before a Dense layer and one normalised only at the end differ.
    if "Normalize" in kinds[2:-1]:
        raise ModelLoadError(f"{folder}: Normalize is supported as the last module only")
    chain = ModuleChain(
        folders[0], modes, hidden_size, tuple(dense_layers), kinds[-1] == "Normalize"
    )
    _check_widths(folder, chain)
    return chain


def _read_pooling(folder: Path) -> tuple[int, tuple[str, ...]]:
    config = read_object(folder / "config.json")
    width = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    if not isinstance(width, int):
        raise ModelLoadError(f"{folder}: the pooling configuration gives no embedding dimension")
    if config.get("include_prompt", True) is not True:
        # Prompts are joined to the text before tokenising, so their length is not known here.
        raise ModelLoadError(f"{folder}: pooling without the prompt is not supported")
    modes = _pooling_modes(config)
    if unknown := [mode for mode in modes if mode not in POOLING_MODES]:
        raise ModelLoadError(f"{folder}: the pooling mode {unknown[0]!r} is not supported")
    return width, modes


def _pooling_modes(config: dict[str, Any]) -> tuple[str, ...]:
    stated = config.get("pooling_mode")
    if isinstance(stated, str):
        return (stated,)
    if isinstance(stated, list) and stated:
        return tuple(str(mode) for mode in stated)
    return tuple(mode for flag, mode in _FLAGS.items() if config.get(flag)) or ("mean",)


def _read_dense(folder: Path) -> DenseLayer:
    _refuse_other_features(folder)
    config = read_object(folder / "config.json")
    try:
        return DenseLayer(
            folder=folder,
            in_features=int(config["in_features"]),
            out_features=int(config["out_features"]),
            has_bias=bool(config.get("bias", True)),
            activation=str(config.get("activation_function", "torch.nn.modules.activation.Tanh")),
            is_residual=bool(config.get("use_residual", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(f"{folder}: the Dense configuration gives no widths") from error


def _refuse_other_features(folder: Path) -> None:
    """Refuse a module that reads or writes anything but the sentence's one vector."""
    config = read_object(folder / "config.json")
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise ModelLoadError(f"{folder}: {key} {config[key]!r} is not supported")


def _check_widths(folder: Path, chain: ModuleChain) -> None:
    width = chain.hidden_size * len(chain.pooling_modes)
    for layer in chain.dense_layers:
        if layer.in_features != width:
            raise ModelLoadError(
                f"{folder}: a Dense layer takes {layer.in_features} features, and gets {width}"
            )
        width = layer.out_features
