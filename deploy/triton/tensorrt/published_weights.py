"""Weights by name from published safetensors, one file or many, one tensor in memory at a time."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from export_faults import ExportError


class PublishedWeights:
    """The tensors of a folder. Files saved with a language-model head name them `model.…`."""

    def __init__(self, folder: Path) -> None:
        """Raise ExportError where the folder holds no readable safetensors."""
        self.files = tuple(sorted(folder.glob("*.safetensors")))
        if not self.files:
            raise ExportError(f"{folder} holds no safetensors")
        self._places: dict[str, tuple[Path, str]] = {}
        for path in self.files:
            try:
                with safe_open(path, framework="pt") as tensors:
                    names = list(tensors.keys())
            except (OSError, SafetensorError) as error:
                raise ExportError(f"{path} cannot be read as safetensors: {error}") from error
            self._places |= {name.removeprefix("model."): (path, name) for name in names}

    def read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return one tensor as it was published; ExportError where it is missing or misshapen."""
        if name not in self._places:
            raise ExportError(f"there is no weight {name} in {self.files[0].parent}")
        path, stored = self._places[name]
        with safe_open(path, framework="pt") as tensors:
            tensor: Tensor = tensors.get_tensor(stored)
        if tuple(tensor.shape) != shape:
            raise ExportError(f"{path}: {name} has shape {tuple(tensor.shape)}, expected {shape}")
        return tensor
