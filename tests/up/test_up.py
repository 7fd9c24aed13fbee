"""`embedway up` as people run it: a process, real ports, real clients."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import psutil
import pytest

from benchmarks.processes import free_port
from tests.support.families import living, name_of

_START_S = 110.0
_PROGRAM = str(Path(sys.executable).with_name("embedway"))


@dataclasses.dataclass(frozen=True)
class Running:
    """A started stack and what it printed."""

    process: subprocess.Popen[str]
    output: str
    folder: Path

    @property
    def url(self) -> str:
        return re.findall(r"^URL +(\S+)$", self.output, re.MULTILINE)[0]

    @property
    def key(self) -> str:
        return re.findall(r"^key +(\S+)$", self.output, re.MULTILINE)[0]

    @property
    def triton(self) -> psutil.Process:
        children = self.family()
        return next(child for child in children if name_of(child) == "tritonserver")

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0)


def _command(*options: str) -> list[str]:
    ports = ["--port", str(free_port()), "--grpc-port", str(free_port())]
    return [_PROGRAM, "up", *ports, *options]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "EMBEDWAY_API_KEY"}


def _start(folder: Path) -> Running:
    log = (folder / "stderr.log").open("w")
    process = subprocess.Popen(
        _command(), cwd=folder, env=_environment(), stdout=subprocess.PIPE, stderr=log, text=True
    )
    log.close()
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("Serving"):
            return Running(process, output, folder)
    process.wait()
    raise AssertionError((folder / "stderr.log").read_text())


def _end(running: Running) -> int:
    running.process.send_signal(signal.SIGINT)
    status = running.process.wait(60)
    assert running.process.stdout is not None
    running.process.stdout.close()
    return status


def _regions_of(running: Running) -> list[Path]:
    return list(Path("/dev/shm").glob(f"embedway-{running.process.pid}-*"))


def _until(condition: Callable[[], object], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[Running]:
    stack = _start(tmp_path_factory.mktemp("elsewhere"))
    yield stack
    assert _end(stack) == 0


def test_the_first_vector(running: Running) -> None:
    """The printed key and address give unit vectors to the unmodified OpenAI client."""
    answer = running.client().embeddings.create(model="all-minilm-l6-v2", input=["one", "two"])
    assert [len(item.embedding) for item in answer.data] == [384, 384]
    assert sum(x * x for x in answer.data[0].embedding) == pytest.approx(1.0, abs=1e-4)


def test_the_search_is_sensible(running: Running) -> None:
    """Every sentence about Japan's capital ranks above every other, in each language."""
    ranked = re.findall(r"^ *-?\d\.\d{3} +(\w+) +(.+?) *$", running.output, re.MULTILINE)
    assert len(ranked) == 12
    about_japan = [bool(re.search(r"To[ky]+i?o|東京", text)) for _, text in ranked]
    assert about_japan == [True] * 7 + [False] * 5


def test_the_key_of_a_trial_may_look_behind_the_doors(running: Running) -> None:
    """On loopback the printed key is answered by the administrative endpoints too."""
    url = running.url.removesuffix("/v1") + "/admin/v1/targets"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {running.key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert b'"local"' in answer.read()


def test_a_port_in_use(running: Running, tmp_path: Path) -> None:
    """A second stack on the same port ends with one sentence that names the port."""
    port = running.url.split(":")[2].split("/")[0]
    done = subprocess.run(
        [_PROGRAM, "up", "--port", port],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    expected = f"embedway: port {port} on 127.0.0.1 cannot be used: Address already in use\n"
    assert done.stderr == expected
    assert done.stdout == ""


def test_triton_is_restarted(running: Running) -> None:
    """Killed -9, Triton comes back by itself, and the router with it."""
    before = running.triton
    before.kill()

    def serves_again() -> bool:
        try:
            running.client().embeddings.create(model="all-minilm-l6-v2", input="again")
        except openai.InternalServerError:
            return False
        return True

    assert living([before]) == []
    _until(serves_again, 90)
    assert running.triton.pid != before.pid


def test_the_key_stays_out_of_the_log(running: Running) -> None:
    """The key is on standard output, once to read and once to copy, and in no log."""
    assert running.output.count(running.key) == 2
    assert running.key not in (running.folder / "stderr.log").read_text()


def test_interrupt_leaves_nothing(tmp_path: Path, minilm: Path) -> None:
    """SIGINT ends it with status 0, and no process or shared memory is left."""
    stack = _start(tmp_path)
    family = stack.family()
    assert len(family) >= 2
    assert _regions_of(stack)
    assert _end(stack) == 0
    assert living(family) == []
    assert _regions_of(stack) == []


def test_kill_leaves_nothing(tmp_path: Path, minilm: Path) -> None:
    """After kill -9 Triton ends by itself, and its stubs and shared memory with it."""
    stack = _start(tmp_path)
    family = stack.family()
    stack.process.kill()
    stack.process.wait()
    assert stack.process.stdout is not None
    stack.process.stdout.close()
    assert living(family) == []
    _until(lambda: not _regions_of(stack), 30)


def test_weights_that_do_not_load(tmp_path: Path, minilm: Path) -> None:
    """A model folder with broken weights ends with status 1 and one sentence."""
    folder = tmp_path / "broken"
    shutil.copytree(minilm, folder)
    (folder / "model.safetensors").write_bytes(b"straw")
    done = subprocess.run(
        _command("--model", str(folder)),
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_S,
    )
    assert done.returncode == 1
    [sentence] = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert sentence.startswith("embedway: Triton could not start: model broken: ")
    assert "triton-failure.log" in sentence


def test_a_folder_without_a_model(tmp_path: Path, minilm: Path) -> None:
    """An empty folder ends with status 1 and one sentence that names it."""
    done = subprocess.run(
        _command("--model", str(tmp_path)),
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_S,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"embedway: the model in {tmp_path} cannot be served: ")
    assert done.stderr.count("\n") == 1


def test_an_early_interrupt(tmp_path: Path, minilm: Path) -> None:
    """SIGTERM while the model loads ends the start, and nothing is left."""
    process = subprocess.Popen(
        _command(),
        cwd=tmp_path,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    next(line for line in process.stderr if "loading" in line)
    _until(lambda: psutil.Process(process.pid).children(recursive=True), 30)
    time.sleep(0.5)
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert family
    assert living(family) == []
