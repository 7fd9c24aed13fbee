"""What compose starts, started here: its commands and configuration, on PostgreSQL and Triton."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.processes import free_port
from tests.support import compose
from tests.support import triton as tritons
from tests.support.postgres import Postgres

_KEY = "ew-a-key-for-this-test-only"
_DOCKERFILE = compose.FOLDER.parent / "images/router/Dockerfile"


def _configured(folder: Path, url: str, triton_port: int, minilm: Path) -> tuple[Path, int]:
    """Compose's configuration with the addresses and folders of this machine; its HTTP port."""
    text = compose.mounts(compose.CPU, "router")[compose.CONFIGURATION].read_text()
    for name, value in {"api_key": _KEY, "store_url": url}.items():
        (folder / name).write_text(value)
    for theirs, ours in {
        "/run/secrets": str(folder),
        "/var/lib/embedway": str(folder),
        "grpc://triton:8001": f"grpc://127.0.0.1:{triton_port}",
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    settings = yaml.safe_load(text)
    port = free_port()
    settings["server"] |= {"host": "127.0.0.1", "port": port, "grpc_port": free_port()}
    settings["spaces"]["all-minilm-l6-v2"]["tokenizer"] = str(minilm)
    config = folder / "embedway.yaml"
    config.write_text(yaml.safe_dump(settings))
    return config, port


def _command(name: str, config: Path) -> list[str]:
    """What the container of a service runs: its own command, else the image's."""
    command = compose.stack(compose.CPU)["services"][name].get("command")
    if command is None:
        [line] = [
            one for one in _DOCKERFILE.read_text().splitlines() if one.startswith('CMD ["serve')
        ]
        command = json.loads(line.removeprefix("CMD "))
    program = str(Path(sys.executable).parent / "embedway")
    return [program, *(str(config) if one == compose.CONFIGURATION else one for one in command)]


def _ask(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"authorization": f"Bearer {_KEY}", "content-type": "application/json"}
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


def _is_ready(port: int) -> bool:
    try:
        return _ask(port, "GET", "/health/ready")[0] == 200
    except OSError:
        return False


@contextlib.contextmanager
def _running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def start(
    postgres: Postgres, triton: tritons.SharedTriton, minilm: Path, tmp_path: Path
) -> tuple[Path, int]:
    """Compose's configuration on an empty database, and the port that is served."""
    return _configured(tmp_path, postgres.database(), triton.process.ports.grpc, minilm)


def test_what_compose_starts_serves(start: tuple[Path, int], tmp_path: Path) -> None:
    """On an empty PostgreSQL `migrate`, run twice, and then the router embed and count usage."""
    config, port = start
    for _ in range(2):
        done = subprocess.run(
            _command("migrate", config), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
    with _running(_command("router", config), tmp_path) as process:
        deadline_s = time.monotonic() + 120
        while not _is_ready(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline_s, (tmp_path / "log").read_text()
            time.sleep(0.1)
        body = {"model": "all-minilm-l6-v2", "input": ["one", "two"]}
        status, answer = _ask(port, "POST", "/v1/embeddings", body)
        assert status == 200, answer
        assert [len(one["embedding"]) for one in answer["data"]] == [384, 384]
    assert process.returncode == 0, (tmp_path / "log").read_text()
    done = subprocess.run(
        [_command("router", config)[0], "usage", "--config", config, "--format", "json"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert [row["requests"] for row in json.loads(done.stdout)] == [1]


def test_without_the_migration_the_router_does_not_start(
    start: tuple[Path, int], tmp_path: Path
) -> None:
    """The router alone ends on an empty PostgreSQL, and names the command that `migrate` runs."""
    config, _ = start
    with _running(_command("router", config), tmp_path) as process:
        assert process.wait(120) != 0
    assert "run `embedway db upgrade`" in (tmp_path / "log").read_text()
