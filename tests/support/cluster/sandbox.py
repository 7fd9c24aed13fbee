"""A process that sees what a container of a Pod would: its mounts, its user, its address.

Everything else of the file system is read-only, so a program that writes outside its mounts fails
here as it would under `readOnlyRootFilesystem`. By Debian's bubblewrap, without privileges.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from router.up.cache import cache_folder
from tests.support.cluster.processes import Child
from tests.support.parts import program

_SHIM = Path(__file__).with_name("pod_address.c")
_SHIM_PLACE = "/pod_address.so"
_REPOSITORY = Path(__file__).parents[3]
# Made anew in the container, or mounted by hand below.
_NOT_BOUND = {"dev", "etc", "opt", "proc", "tmp", "var"}


def build_shim(folder: Path) -> Path:
    """The library that gives a process its Pod's address, built with the machine's compiler."""
    library = folder / "pod_address.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SHIM), "-ldl"], check=True
    )
    return library


class Sandbox:
    """One container's process."""

    def __init__(
        self,
        folder: Path,
        command: list[str],
        environment: Mapping[str, str],
        mounts: Mapping[str, Path],
        workplace: Path,
        user: int,
        shim: Path,
    ) -> None:
        """Run `command` in `workplace` with `mounts` (path inside → folder outside)."""
        folder.mkdir(parents=True, exist_ok=True)
        self._hosts = folder / "hosts"
        self.write_hosts({})
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        try:
            self._child = Child(
                folder / "log",
                [
                    program("bwrap", "bubblewrap"),
                    *("--unshare-user", "--uid", str(user), "--gid", str(user)),
                    *("--die-with-parent", "--info-fd", str(writer)),
                    *_root(self._hosts),
                    *("--ro-bind", str(shim), _SHIM_PLACE),
                    *(
                        part
                        for place, source in sorted(mounts.items())
                        for part in ("--bind", str(source), place)
                    ),
                    # After the mounts: a checkout may lie below a folder that one of them hides.
                    *_programs(),
                    *("--setenv", "LD_PRELOAD", _SHIM_PLACE, "--chdir", str(workplace)),
                    "--",
                    *command,
                ],
                environment,
                keep=(writer,),
            )
        finally:
            os.close(writer)
        with os.fdopen(reader) as information:
            text = information.read()
        assert text, f"no container could be made: {self._child.tail()}"
        self._process_id: int = json.loads(text)["child-pid"]

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.exit_code

    def tail(self, lines: int = 30) -> str:
        """The end of what it wrote."""
        return self._child.tail(lines)

    def write_hosts(self, hosts: Mapping[str, list[str]]) -> None:
        """Names that it can look up, and their addresses."""
        known = {"localhost": ["127.0.0.1"], **hosts}
        lines = [f"{address} {name}\n" for name, found in known.items() for address in found]
        text = "".join(lines)
        if not self._hosts.exists() or self._hosts.read_text() != text:
            # In place: a file that is mounted somewhere cannot be replaced there.
            self._hosts.write_text(text)

    def stop(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL after the grace period; the exit code."""
        if self.exit_code is None:
            os.kill(self._process_id, signal.SIGTERM)
        return self._child.wait(grace_s)

    def wait(self, timeout_s: float) -> int:
        """The exit code of a process that ends by itself; it is killed after `timeout_s`."""
        return self._child.wait(timeout_s)

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()


def _root(hosts: Path) -> list[str]:
    """Everything of this machine read-only, but /etc/hosts, /tmp and /var.

    Entries of /etc and /opt one by one: an image has folders of its own in them.
    """
    options = ["--dev-bind", "/dev", "/dev", "--ro-bind", "/proc", "/proc"]
    for entry in sorted(Path("/").iterdir()):
        if entry.name in _NOT_BOUND:
            continue
        if entry.is_symlink():
            options += ["--symlink", str(entry.readlink()), str(entry)]
        elif entry.is_dir():
            options += ["--ro-bind", str(entry), str(entry)]
    for folder in (Path("/etc"), Path("/opt")):
        for entry in sorted(folder.iterdir()):
            if entry.name != "hosts":
                options += ["--ro-bind", str(entry), str(entry)]
    options += ["--ro-bind", str(hosts), "/etc/hosts", "--tmpfs", "/tmp", "--tmpfs", "/var"]
    return options


def _programs() -> list[str]:
    """What containers run: this checkout, its Python, and the programs fetched for it."""
    places = (_REPOSITORY, Path(sys.base_prefix), cache_folder(os.environ))
    return [part for place in places for part in ("--ro-bind", str(place), str(place))]
