"""The Triton server of the wheel: its files, its command line and its environment."""

import ctypes.util
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.up.errors import UpError

# A secret that the server has no use for.
_KEPT_BACK = "EMBEDWAY_API_KEY"
_EXIT_TIMEOUT_S = 10
_TRACE_EXPORT_MS = 500
# Everything but inference, health, metadata, configuration and statistics: shared memory would
# let a client read this machine's memory, the others change the server.
_CLOSED_APIS = "shared-memory,model-repository,trace,logging"


@dataclass(frozen=True, slots=True)
class TritonFiles:
    """The unpacked wheel."""

    root: Path

    @property
    def server(self) -> Path:
        """The program."""
        return self.root / "pytriton/tritonserver/bin/tritonserver"

    @property
    def python_backend(self) -> Path:
        """Folder of libtriton_python.so and its Python module."""
        return self.root / "pytriton/tritonserver/backends/python"

    @property
    def stub(self) -> Path:
        """The program that runs Python models, for this interpreter; UpError if there is none."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stubs = self.root / "pytriton/tritonserver/python_backend_stubs"
        stub = stubs / version / "triton_python_backend_stub"
        if not stub.is_file():
            offered = sorted(int(folder.name.partition(".")[2]) for folder in stubs.glob("3.*"))
            raise UpError(
                f"Triton's server does not run models on Python {version}: "
                f"use one of 3.{offered[0]} to 3.{offered[-1]}"
            )
        return stub

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """For the server and its stubs: the libpython and the packages of this interpreter.

        The stub starts its interpreter isolated, which ignores PYTHONHOME and PYTHONPATH and takes
        the `python3` that comes first on PATH, its virtual environment included.
        """
        libraries = [str(self.root / "nvidia_pytriton.libs"), *_libpython_folders()]
        if before := inherited.get("LD_LIBRARY_PATH"):
            libraries.append(before)
        programs = [str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)]
        kept = {name: value for name, value in inherited.items() if name != _KEPT_BACK}
        return kept | {"PATH": ":".join(programs), "LD_LIBRARY_PATH": ":".join(libraries)}


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of the server's three doors on 127.0.0.1."""

    http: int
    grpc: int
    metrics: int


def server_options(
    ports: Ports, repository: Path, backends: Path, region_prefix: str, secret: str
) -> list[str]:
    """The command line; `secret` opens the closed APIs, and nobody is told it."""
    doors = [
        f"--{door}-{setting}={value}"
        for door, port in (("http", ports.http), ("grpc", ports.grpc), ("metrics", ports.metrics))
        for setting, value in (("address", "127.0.0.1"), ("port", port))
    ]
    return [
        *doors,
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        # Named after the C++ backend, though models name `embedding`.
        f"--backend-config=python,shm-region-prefix-name={region_prefix}",
        "--model-control-mode=none",
        "--model-load-retry-count=0",
        f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
        f"--http-restricted-api={_CLOSED_APIS}:x-embedway-closed={secret}",
        f"--grpc-restricted-protocol={_CLOSED_APIS}:x-embedway-closed={secret}",
    ]


def trace_options(url: str) -> list[str]:
    """Export the spans of requests whose `traceparent` comes with them, and of no others.

    The rate is of requests that carry none; one that carries it is traced whatever its sampled
    flag says, so only the traceparent of sampled requests may be passed on.
    """
    settings = [
        "mode=opentelemetry",
        "rate=0",
        "level=TIMESTAMPS",
        f"opentelemetry,url={url}",
        # Its own default is five seconds, in which people wonder where the spans are.
        f"opentelemetry,bsp_schedule_delay={_TRACE_EXPORT_MS}",
    ]
    return [f"--trace-config={setting}" for setting in settings]


def _libpython_folders() -> list[str]:
    """Where the stub finds libpython; none where the system's loader knows it by itself."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    places = [Path(sys.base_prefix) / "lib", Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")]
    for place in places:
        if (place / name).is_file():
            return [str(place)]
    if ctypes.util.find_library(name.removeprefix("lib").partition(".so")[0]):
        return []
    raise UpError(
        f"this Python has no shared library {name}, which Triton's Python backend needs: "
        "install the libpython package, or use a Python built with --enable-shared"
    )
