"""etcd, kube-apiserver and kubectl: the machine's own, or built once a machine."""

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.up.cache import cache_folder
from tests.support.parts import program

_SCRIPT = Path(__file__).parents[3] / "deploy" / "cluster" / "apiserver.sh"
# Changes with what the script builds, so that no machine keeps an older build.
_EDITION = "1.20.2-1"
_BUILT = ("kube-apiserver", "kubectl")


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the three programs lie."""

    etcd: Path
    apiserver: Path
    kubectl: Path


def find_binaries() -> Binaries:
    """Those in $KUBEBUILDER_ASSETS, else Debian's etcd and a build of Debian's Kubernetes.

    A machine that can have neither skips the test, or fails it where EMBEDWAY_PARTS=required is
    set, as .ci/run does.
    """
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        folder = Path(assets)
        return Binaries(folder / "etcd", folder / "kube-apiserver", folder / "kubectl")
    folder = cache_folder(os.environ) / "cluster" / _EDITION
    folder.mkdir(parents=True, exist_ok=True)
    reason = build(folder)
    if reason is not None:
        if os.environ.get("EMBEDWAY_PARTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return Binaries(program("etcd", "etcd-server"), folder / "kube-apiserver", folder / "kubectl")


def build(folder: Path) -> str | None:
    """Build what is missing in `folder`; the reason where that is not possible.

    A second caller waits for the first one's build, in whatever process it runs.
    """
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all((folder / name).exists() for name in _BUILT):
            return None
        done = subprocess.run(
            ["sh", str(_SCRIPT), sys.executable, str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or ["kube-apiserver could not be built"]
    return lines[-1]


if __name__ == "__main__":
    # `make cluster-parts`: built ahead, so that other work can go on meanwhile.
    find_binaries()
