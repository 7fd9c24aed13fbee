"""The folder of backends, and the compiler it needs."""

from pathlib import Path

import pytest

from router.config.environment import process_environment
from router.up.assets import Assets
from router.up.backend_directory import assemble_backends, compile_batch_strategy
from router.up.errors import UpError
from router.up.triton_files import TritonFiles


async def test_what_triton_finds(triton_files: TritonFiles, assets: Assets, tmp_path: Path) -> None:
    """Triton finds an executable stub, the embedding backend and the compiled batch strategy."""
    await assemble_backends(tmp_path / "b", triton_files, assets, process_environment())
    stub = tmp_path / "b/python/triton_python_backend_stub"
    assert stub.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "b/python/libtriton_python.so").is_file()
    assert (tmp_path / "b/embedding/model.py").is_file()
    assert (tmp_path / "b/embedding/batchstrategy.so").read_bytes()[:4] == b"\x7fELF"


async def test_no_compiler(assets: Assets, tmp_path: Path) -> None:
    """A machine without a C compiler is told what to install."""
    with pytest.raises(UpError, match=r"no C compiler was found .* install gcc"):
        await compile_batch_strategy(
            assets.batch_strategy, tmp_path / "x.so", {"PATH": str(tmp_path)}
        )


async def test_source_that_does_not_compile(tmp_path: Path) -> None:
    """A compiler's complaint is one sentence."""
    source = tmp_path / "broken.c"
    source.write_text("int main(")
    with pytest.raises(UpError, match="batch strategy could not be compiled: ") as caught:
        await compile_batch_strategy(source, tmp_path / "x.so", process_environment())
    assert "\n" not in str(caught.value)
