"""Published safetensors, in one file or sharded: each tensor is found by name and copied once."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from faults import ModelLoadError
from model_files import read_object

_ONE_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class SafetensorsFiles:
    """The tensors of one model's folder; a context manager that keeps its files open.

    Files are mapped into memory, so a tensor is read when it is copied to where it will stay, and
    no second copy of it exists in between.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._file_of: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Open every shard. Raises ModelLoadError where one is missing or damaged."""
        index = read_object(self._folder / _INDEX).get("weight_map")
        names = sorted(set(index.values())) if index else [_ONE_FILE]
        try:
            for name in names:
                self._files[name] = _opened(self._folder / name)
                self._file_of.update(dict.fromkeys(self._files[name].keys(), name))
        except (OSError, SafetensorError) as error:
            self.close()
            raise ModelLoadError(
                f"the weights in {self._folder} cannot be loaded: {name} is missing or damaged"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        for opened in self._files.values():
            opened.__exit__(None, None, None)
        self._files = {}

    def prefix(self, known: str, among: Iterable[str]) -> str:
        """Return the one of the prefixes under which the tensor `known` stands."""
        for prefix in among:
            if prefix + known in self._file_of:
                return prefix
        raise ModelLoadError(f"the weights in {self._folder} cannot be loaded: no {known}")

    def load(self, name: str, shape: tuple[int, ...], place: Tensor) -> None:
        """Copy a tensor into `place`, in its dtype and on its device.

        Raises ModelLoadError where it is missing or has another shape.
        """
        if name not in self._file_of:
            raise ModelLoadError(f"the weights in {self._folder} cannot be loaded: no {name}")
        tensor = self._files[self._file_of[name]].get_tensor(name)
        if tuple(tensor.shape) != shape:
            raise ModelLoadError(
                f"the weights in {self._folder} cannot be loaded: {name} has the shape "
                f"{list(tensor.shape)}, and the configuration says {list(shape)}"
            )
        place.copy_(tensor)


def _opened(path: Path) -> Any:  # noqa: ANN401 - the library has no types
    opened: Any = safe_open(path, framework="pt")
    return opened.__enter__()


class WeightReader:
    """Allocates weights where they will stay and fills them from files."""

    def __init__(
        self, files: SafetensorsFiles, prefix: str, dtype: torch.dtype, device: str
    ) -> None:
        self._files = files
        self._prefix = prefix
        self._dtype = dtype
        self._device = device

    def vector(self, name: str, size: int) -> Tensor:
        """Return a vector (size,)."""
        return self.stacked([name], [(size,)])

    def matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """Return a matrix (rows, columns)."""
        return self.stacked([name], [(rows, columns)])

    def stacked(self, names: list[str], shapes: list[tuple[int, ...]]) -> Tensor:
        """Return several tensors one below the other, as one product needs them."""
        rows = sum(shape[0] for shape in shapes)
        whole = torch.empty((rows, *shapes[0][1:]), dtype=self._dtype, device=self._device)
        row = 0
        for name, shape in zip(names, shapes, strict=True):
            self._files.load(self._prefix + name, shape, whole[row : row + shape[0]])
            row += shape[0]
        return whole
