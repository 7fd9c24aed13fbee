"""Puts together the folder where Triton finds its backends."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from router.up.assets import Assets
from router.up.errors import UpError
from router.up.processes import run_program
from router.up.triton_files import TritonFiles

_COMPILERS = ("cc", "gcc", "clang")
# Triton loads a file of this name from the backend's folder by itself.
_STRATEGY = "batchstrategy.so"


async def assemble_backends(
    folder: Path, files: TritonFiles, assets: Assets, environment: Mapping[str, str]
) -> None:
    """Fill `folder`: Triton's Python backend for this interpreter, and the embedding backend."""
    embedding = folder / "embedding"
    _copy_backends(folder / "python", embedding, files, assets)
    await compile_batch_strategy(assets.batch_strategy, embedding / _STRATEGY, environment)


def _copy_backends(python: Path, embedding: Path, files: TritonFiles, assets: Assets) -> None:
    shutil.copytree(files.python_backend, python)
    # An unpacked wheel may have lost the bit.
    Path(shutil.copy(files.stub, python)).chmod(0o755)
    # Copied and not linked: the interpreter writes its bytecode beside the source.
    shutil.copytree(assets.backend, embedding, ignore=shutil.ignore_patterns("__pycache__"))


async def compile_batch_strategy(
    source: Path, library: Path, environment: Mapping[str, str]
) -> None:
    """Compile the batch strategy; UpError without a compiler, or where it fails."""
    found = (shutil.which(name, path=environment.get("PATH", "")) for name in _COMPILERS)
    compiler = next((path for path in found if path), None)
    if compiler is None:
        raise UpError(
            "no C compiler was found (cc, gcc or clang): install gcc, "
            "Triton's batch strategy is built with it"
        )
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)]
    finished = await run_program(command, environment)
    if finished.status != 0:
        raise UpError(f"Triton's batch strategy could not be compiled: {finished.last_line()}")
