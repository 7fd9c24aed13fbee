"""The installed wheel as the router's image runs it: as nobody, on a file system that is shut."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmarks.processes import free_port

_COMPOSE = Path(__file__).parents[2] / "deploy/compose"
_KEY = "ew-a-key-for-this-test-only"
# Root of a namespace of its own shuts everything but two folders, and then is somebody else.
_SHUT = """
set -e
for folder in "$STATE" "$TMPDIR"; do mount --bind "$folder" "$folder"; done
mount -o remount,bind,ro /
exec unshare --user --map-user=65532 --map-group=65532 "$@"
"""


def _shut(folder: Path, *command: str | Path) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that run `command` so; only state and tmp are open."""
    for name in ("state", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "STATE": str(folder / "state"),
        "HOME": str(folder / "state"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]
    return [*namespace, "sh", "-c", _SHUT, "sh", *map(str, command)], environment


@pytest.fixture
def shut(tmp_path: Path) -> Path:
    """A folder in which commands can be shut in; skips where this machine does not allow it."""
    command, environment = _shut(tmp_path, "sh", "-c", "id -u; touch outside state/in tmp/in")
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if not done.stdout:
        reason = f"no namespace can be made here: {done.stderr.strip()}"
        if os.environ.get("EMBEDWAY_PARTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    # Shut in truly, or what follows would show nothing.
    assert done.stdout == "65532\n"
    assert "Read-only file system" in done.stderr
    assert not (tmp_path / "outside").exists()
    assert (tmp_path / "state/in").exists()
    return tmp_path


@pytest.fixture
def program(wheel: Path, tmp_path: Path) -> Path:
    """`embedway` of the installed wheel, with the packages of this environment."""
    home = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--no-index", wheel], check=True, stderr=subprocess.DEVNULL)
    [site] = home.glob("lib/python*/site-packages")
    # As a folder and not as a site: the checkout that is installed in it stays out.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin/embedway"


@dataclass(frozen=True)
class Serving:
    """A router that was started so."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"authorization": f"Bearer {_KEY}", "content-type": "application/json"}
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/health/ready")[0] == 200
        except OSError:
            return False


def _settings(folder: Path, minilm: Path, port: int) -> dict[str, object]:
    """Those of compose, with what is elsewhere here."""
    settings = yaml.safe_load((_COMPOSE / "router/all-minilm-l6-v2.yaml").read_text())
    settings["server"] |= {"host": "127.0.0.1", "port": port, "grpc_port": None}
    settings["spaces"]["all-minilm-l6-v2"]["tokenizer"] = str(minilm)
    settings["targets"]["local"] = {"space": "all-minilm-l6-v2", "upstream": "fake"}
    (folder / "api_key").write_text(_KEY)
    settings["tenants"]["default"]["keys"][0]["file"] = str(folder / "api_key")
    (folder / "store_url").write_text(f"sqlite:///{folder}/state/embedway.db\n")
    settings["store"] = {
        "url_file": str(folder / "store_url"),
        "state": str(folder / "state/spool"),
    }
    return settings


@pytest.fixture
def serving(shut: Path, program: Path, minilm: Path) -> Iterator[Serving]:
    port = free_port()
    config = shut / "embedway.yaml"
    config.write_text(yaml.safe_dump(_settings(shut, minilm, port)))
    command, environment = _shut(shut, program, "serve", "--config", config)
    with (shut / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=shut / "state", stdout=log, stderr=log
        )
    router = Serving(process, port, shut)
    try:
        deadline_s = time.monotonic() + 120
        while not router.is_ready():
            assert process.poll() is None, (shut / "log").read_text()
            assert time.monotonic() < deadline_s, (shut / "log").read_text()
            time.sleep(0.1)
        yield router
    finally:
        process.kill()
        process.wait()


def test_the_router_serves_shut_in(serving: Serving) -> None:
    """As user 65532 on a read-only file system it starts, migrates, embeds, counts, and ends."""
    body = {"model": "all-minilm-l6-v2", "input": ["one", "two"]}
    status, answer = serving.ask("POST", "/v1/embeddings", body)
    assert status == 200, answer
    assert [len(one["embedding"]) for one in json.loads(answer)["data"]] == [384, 384]
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(60) == 0
    assert (serving.folder / "state/embedway.db").stat().st_size > 0
    assert (serving.folder / "state/spool").is_dir()
    log = (serving.folder / "log").read_text()
    assert "Read-only file system" not in log
    assert _KEY not in log
    assert str(serving.folder / "python") in _origin(serving.folder)


def _origin(folder: Path) -> str:
    """Where the router was imported from: the wheel, not this checkout."""
    done = subprocess.run(
        [folder / "python/bin/python", "-c", "import router; print(router.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return done.stdout
