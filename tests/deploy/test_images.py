"""deploy/images: what a builder would make of them, as far as no builder is needed."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.wheel import make_wheel

_ROOT = Path(__file__).parents[2]
_IMAGES = _ROOT / "deploy/images"
_NAMES = ["router", "operator", "triton"]
_EACH = pytest.mark.parametrize("name", _NAMES)
_HADOLINT = Path(sys.executable).with_name("hadolint")


@dataclass
class Stage:
    """One stage of a Dockerfile: its base and its instructions."""

    base: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        return [value for one, value in self.lines if one == instruction]

    @property
    def environment(self) -> dict[str, str]:
        text = " ".join(self.values("ENV"))
        return dict(pair.split("=", 1) for pair in text.split())


@dataclass
class Dockerfile:
    arguments: dict[str, str]
    stages: list[Stage]

    @property
    def last(self) -> Stage:
        return self.stages[-1]


def _read(name: str) -> Dockerfile:
    text = (_IMAGES / name / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found = Dockerfile({}, [])
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, value = line.partition(" ")
        value = " ".join(value.split())
        if instruction == "FROM":
            found.stages.append(Stage(value))
        elif not found.stages:
            found.arguments.update([value.split("=", 1)])
        else:
            found.last.lines.append((instruction, value))
    return found


def _pins() -> dict[str, str]:
    lines = (_ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): pin for name, _, pin in (one.partition("==") for one in lines)}


def _bases(found: Dockerfile) -> Iterator[str]:
    for stage in found.stages:
        base = stage.base.split(" AS ")[0]
        yield found.arguments[base.strip("${}")] if base.startswith("$") else base


@pytest.fixture
def metadata(wheel: Path, tmp_path: Path) -> Distribution:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    [info] = tmp_path.glob("*.dist-info")
    return PathDistribution(info)


@_EACH
def test_the_linter_is_content(name: str) -> None:
    """Hadolint finds nothing in the Dockerfile."""
    done = subprocess.run(
        [_HADOLINT, "--format", "json", _IMAGES / name / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout) == []
    assert done.returncode == 0, done.stderr


@_EACH
def test_bases_are_pinned(name: str) -> None:
    """Every stage begins with an image of one exact version."""
    for base in _bases(_read(name)):
        assert re.search(r":\d+\.\d+(\.\d+)?-[\w-]+$", base), base


def test_tritons_base_is_new_enough() -> None:
    """Triton is 26.07 or later, where known vulnerabilities are closed, and as documented."""
    found = _read("triton")
    release = found.arguments["TRITON_IMAGE"].partition(":")[2]
    year, month = map(int, re.match(r"(\d+)\.(\d+)-", release).groups())  # type: ignore[union-attr]
    assert (year, month) >= (26, 7)
    assert f"tritonserver:{release}" in (_ROOT / "docs/how-to/run.md").read_text()


@_EACH
def test_it_runs_as_nobody(name: str) -> None:
    """The last stage ends as user 65532, and what it starts needs no shell."""
    last = _read(name).last
    assert last.values("USER") == ["65532:65532"]
    [entrypoint] = last.values("ENTRYPOINT")
    assert json.loads(entrypoint)
    order = [instruction for instruction, _ in last.lines]
    assert "RUN" not in order[order.index("USER") :]


def test_what_the_router_starts() -> None:
    """Without arguments the router serves the file that charts and compose mount."""
    last = _read("router").last
    command = [word for kind in ("ENTRYPOINT", "CMD") for word in json.loads(last.values(kind)[0])]
    assert command == ["embedway", "serve", "--config", "/etc/embedway/config/embedway.yaml"]
    assert last.values("EXPOSE") == ["8080 8081"]


def test_what_the_operator_starts() -> None:
    """The operator is a module of the wheel."""
    [entrypoint] = _read("operator").last.values("ENTRYPOINT")
    assert json.loads(entrypoint) == ["python", "-m", "embedway_operator"]


@_EACH
def test_images_are_labelled(name: str) -> None:
    """Title, licence, version and revision are told in OCI's words."""
    last = _read(name).last
    [labels] = last.values("LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert {"VERSION=0", "REVISION=unknown"} <= set(last.values("ARG"))


@_EACH
def test_what_is_copied_is_let_in(name: str) -> None:
    """Each file that is copied exists and passes .dockerignore, which lets nothing else in."""
    ignored, *allowed = [
        line
        for line in (_ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert ignored == "*"
    for stage in _read(name).stages:
        for value in stage.values("COPY"):
            words = [word for word in value.split() if not word.startswith("--")]
            if "--from=" in value:
                continue
            for source in words[:-1]:
                if source.startswith("dist/"):
                    assert "!dist/*.whl" in allowed
                    continue
                assert (_ROOT / source).is_file(), source
                assert f"!{source}" in allowed


@_EACH
def test_no_secret_stays(name: str) -> None:
    """Nothing secret is an argument or a variable; pip's configuration is a secret mount."""
    found = _read(name)
    for stage in found.stages:
        for instruction, value in stage.lines:
            if instruction in ("ARG", "ENV"):
                assert not re.search("password|secret|token|_key", value, re.IGNORECASE), value
            if "pip --python" in value:
                assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in value


@_EACH
def test_packages_are_pinned(name: str) -> None:
    """The installer is given the constraints, takes wheels only, and leaves no pip behind."""
    [run] = [
        value
        for stage in _read(name).stages
        for value in stage.values("RUN")
        if "pip --python" in value
    ]
    assert "--constraint constraints.txt" in run
    assert "--only-binary :all:" in run
    assert "venv --without-pip" in run


def test_the_engine_has_what_the_wheel_asks_for(metadata: Distribution) -> None:
    """Triton's image installs each package of the extra `engine`, and what the backend imports."""
    [run] = [value for value in _read("triton").stages[1].values("RUN") if "pip --python" in value]
    installed = set(re.findall(r"install ([a-z][\w -]+) &&", run)[-1].split())
    engine = {
        requirement.name
        for requirement in map(Requirement, metadata.requires or ())
        if requirement.marker
        and requirement.marker.evaluate({"extra": "engine"})
        and not requirement.marker.evaluate({"extra": ""})
    }
    assert engine
    assert engine <= installed
    sources = "\n".join(path.read_text() for path in (_ROOT / "backends").rglob("*.py"))
    modules = set(re.findall(r"^\s*(?:from|import) (\w+)", sources, re.MULTILINE))
    named = {canonicalize_name(one) for one in modules}
    others = named & _pins().keys() - {"packaging"}
    assert others <= {canonicalize_name(one) for one in installed}


def test_every_requirement_is_pinned(metadata: Distribution) -> None:
    """The constraints name one version of whatever the wheel requires, and it is allowed."""
    pins = _pins()
    for requirement in map(Requirement, metadata.requires or ()):
        pin = pins.get(canonicalize_name(requirement.name))
        if requirement.name == "embedway":
            continue
        assert pin is not None, requirement
        assert requirement.specifier.contains(pin, prereleases=True), requirement


def test_the_wheel_is_reproducible(wheel: Path, tmp_path: Path) -> None:
    """The same commit gives the same wheel, byte by byte."""
    second = make_wheel(tmp_path)
    assert second.name == wheel.name
    assert sha256(second.read_bytes()).digest() == sha256(wheel.read_bytes()).digest()


def test_the_wheel_holds_what_images_take_from_it(wheel: Path) -> None:
    """Backend, model repository, and the operator lie where the Dockerfiles look for them."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "router/_bundled/backends/embedding/model.py" in names
    assert "router/_bundled/model_repository/qwen3_embedding_4b/config.pbtxt" in names
    assert "router/config/providers.yaml" in names
    assert any(name.startswith("router/store/migrations/versions/") for name in names)
    operator = _ROOT / "deploy/operator"
    modules = {str(path.relative_to(operator)) for path in operator.rglob("*.py")}
    assert modules <= names


def _start(tmp_path: Path, *arguments: str) -> list[str]:
    """What embedway-triton would run, word by word."""
    server = tmp_path / "tritonserver"
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    server.chmod(0o755)
    done = subprocess.run(
        [_IMAGES / "triton/embedway-triton", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    return done.stdout.splitlines()


def test_triton_is_closed(tmp_path: Path) -> None:
    """Shared memory, model control, trace and logging need a secret, new at every start."""
    first, second = (_start(tmp_path, "--load-model=one two") for _ in range(2))
    assert first[-1] == "--load-model=one two"
    secrets = []
    for words in (first, second):
        closed = [word for word in words if "restricted" in word]
        assert len(closed) == 2
        for word in closed:
            apis, _, secret = word.partition("=")[2].partition(":x-embedway-closed=")
            assert set(apis.split(",")) == {"shared-memory", "model-repository", "trace", "logging"}
            secrets.append(secret)
    assert all(re.fullmatch("[0-9a-f]{32}", secret) for secret in secrets)
    assert secrets[0] == secrets[1] != secrets[2]


def test_triton_loads_only_what_is_named(tmp_path: Path) -> None:
    """Models are loaded by name, from the image's folders, at the documented ports."""
    words = set(_start(tmp_path))
    assert {
        "--model-control-mode=explicit",
        "--model-repository=/models",
        "--backend-directory=/opt/embedway/backends",
        "--http-port=8000",
        "--grpc-port=8001",
        "--metrics-port=8002",
    } <= words
