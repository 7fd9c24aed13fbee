"""A real Triton whose model has the TensorRT engine's tensors, shapes and refusals, on a CPU.

The engine itself needs a GPU. Here its own exported graph runs in onnxruntime, inside Triton's
Python backend, configured as the published model is.
"""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

import export
from router.domain.clock import SystemClock
from router.up.assets import find_assets
from router.up.cache import LivingFolder, cache_folder
from router.up.local_triton import make_triton
from router.up.model_config import read_config
from router.up.triton_files import TritonFiles
from router.up.wheels import TRITON, fetch
from router.upstreams.padding import Profile
from tests.support import padded_model
from tests.support.triton import READY_S, SharedTriton, quiet_ports

PADDED_NAME = "padded"
PUBLISHED = "qwen3_embedding_4b_tensorrt"
PROFILES = (Profile(4, 64), Profile(2, 256))


@dataclass(frozen=True, slots=True)
class PaddedTriton:
    """A server, and the folder of the model's published weights."""

    shared: SharedTriton
    weights: Path

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.shared.process.ports.grpc}"


@contextlib.asynccontextmanager
async def running_padded_triton(weights: Path, dimensions: int) -> AsyncIterator[PaddedTriton]:
    """A ready server for the Qwen3 model in `weights`; ended and removed afterwards."""
    cache, environment = cache_folder(os.environ), dict(os.environ)
    folder = LivingFolder(cache / "run")
    try:
        files = TritonFiles(await fetch(TRITON, cache, environment))
        process = await make_triton(
            folder.path, files, find_assets(), [], environment, SystemClock()
        )
        process._ports = quiet_ports()
        _write_model(folder.path / "models" / PADDED_NAME, weights, dimensions)
        shared = SharedTriton(process, (PADDED_NAME,))
        try:
            shared.start()
            await process.wait_ready(shared.names, READY_S)
            yield PaddedTriton(shared, weights)
        finally:
            await process.stop()
    finally:
        folder.remove()


def _write_model(folder: Path, weights: Path, dimensions: int) -> None:
    """The published configuration, but for the backend, the GPU and the width."""
    config = read_config(find_assets().models / PUBLISHED)
    config.name, config.platform, config.backend = PADDED_NAME, "", "python"
    config.output[0].dims[-1] = dimensions
    del config.instance_group[:], config.model_warmup[:]
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
    shapes = " ".join(f"{profile.rows}x{profile.tokens}" for profile in PROFILES)
    config.parameters["profiles"].string_value = shapes
    version = folder / "1"
    version.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    shutil.copy(padded_model.__file__, version / "model.py")
    given = [str(weights), str(version), "--dtype", "float32"]
    assert export.main([*given, "--max-tokens", str(PROFILES[-1].tokens)]) == 0
