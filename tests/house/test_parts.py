"""Programs from Debian's packages run without being installed."""

import subprocess

from tests.support.parts import libraries, program


def test_promtool_runs_unpacked() -> None:
    """A statically linked program is found and runs."""
    promtool = program("promtool", "prometheus")
    done = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=True)
    assert "promtool" in done.stdout + done.stderr


def test_a_program_finds_the_libraries_unpacked_beside_it() -> None:
    """Redis needs four libraries that a bare machine does not have."""
    packages = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
    server = program("redis-server", *packages)
    done = subprocess.run(
        [server, "--version"], capture_output=True, text=True, check=True, env=libraries()
    )
    assert "Redis server" in done.stdout
