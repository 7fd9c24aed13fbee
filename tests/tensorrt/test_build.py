"""What trtexec is asked for, and what is kept of its work. No GPU: the trtexec here is a script."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import build
import export
from export_files import DATA, GRAPH, RECORD, sha256
from profiles import DEFAULT_PROFILES, Profile, shape_options
from tests.tensorrt.models import SHAPES, write_model

# Says what trtexec says first, writes its own arguments as the engine, and fails when told to.
TRTEXEC = """#!/bin/sh
echo '&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9]'
for argument in "$@"; do
    case $argument in
        --saveEngine=*) plan=${argument#--saveEngine=} ;;
        --fail) exit 3 ;;
        --idle) exit 0 ;;
    esac
done
printf '%s\\n' "$@" > "$plan"
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_model(folder / "model", SHAPES["wide queries, grouped heads"])
    out = folder / "onnx"
    assert export.main([str(folder / "model"), str(out), "--max-tokens", "300"]) == 0
    return out


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.pbtxt").write_text("")
    return folder


@pytest.fixture
def trtexec(tmp_path: Path) -> str:
    program = tmp_path / "trtexec"
    program.write_text(TRTEXEC)
    program.chmod(0o755)
    return str(program)


def run(exported: Path, model: Path, trtexec: str, *more: str) -> int:
    profiles = ["--profile", "4x128", "--profile", "1x300"]
    return build.main([str(exported), str(model), "--trtexec", trtexec, *profiles, *more])


def test_every_shape_lies_in_one_profile_alone() -> None:
    """The ranges touch and do not overlap, so Triton has nothing to choose between."""
    assert shape_options(DEFAULT_PROFILES) == [
        "--profile=0",
        "--minShapes=INPUT_IDS:1x1,LENGTHS:1",
        "--optShapes=INPUT_IDS:32x128,LENGTHS:32",
        "--maxShapes=INPUT_IDS:32x128,LENGTHS:32",
        "--profile=1",
        "--minShapes=INPUT_IDS:1x129,LENGTHS:1",
        "--optShapes=INPUT_IDS:8x1024,LENGTHS:8",
        "--maxShapes=INPUT_IDS:8x1024,LENGTHS:8",
        "--profile=2",
        "--minShapes=INPUT_IDS:1x1025,LENGTHS:1",
        "--optShapes=INPUT_IDS:1x8192,LENGTHS:1",
        "--maxShapes=INPUT_IDS:1x8192,LENGTHS:1",
    ]


def test_the_command_asks_for_the_graphs_own_types(exported: Path, model: Path) -> None:
    """Strongly typed: bfloat16 where the graph says so, and no flag that would loosen it."""
    plan = model / "1" / "model.plan"
    command = build.build_command("trtexec", exported / GRAPH, plan, [Profile(2, 9)], ["--verbose"])
    assert command == [
        "trtexec",
        f"--onnx={exported / GRAPH}",
        "--stronglyTyped",
        *shape_options([Profile(2, 9)]),
        f"--saveEngine={plan}",
        "--skipInference",
        "--verbose",
    ]


def test_the_engine_is_put_in_place_with_its_origin(
    exported: Path, model: Path, trtexec: str
) -> None:
    """model.plan is what trtexec wrote; build.json has hashes, version, profiles and command."""
    assert run(exported, model, trtexec, "--option=--builderOptimizationLevel=4") == 0
    plan = model / "1" / "model.plan"
    arguments = plan.read_text().splitlines()
    assert "--builderOptimizationLevel=4" in arguments
    assert f"--onnx={exported / GRAPH}" in arguments
    record = json.loads((model / "1" / "build.json").read_text())
    assert record["tensorrt"] == "101303"
    assert record["profiles"] == [[4, 128], [1, 300]]
    assert record["files"] == {"model.plan": sha256(plan)}
    assert record["export"] == json.loads((exported / RECORD).read_text())
    assert record["command"].startswith(trtexec)
    assert {path.name for path in (model / "1").iterdir()} == {"model.plan", "build.json"}


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("--fail", "failed with status 3"), ("--idle", "wrote no engine")],
)
def test_a_build_that_fails_leaves_the_old_engine(
    exported: Path,
    model: Path,
    trtexec: str,
    capsys: pytest.CaptureFixture[str],
    option: str,
    sentence: str,
) -> None:
    """What served before serves after."""
    (model / "1").mkdir()
    (model / "1" / "model.plan").write_text("old")
    assert run(exported, model, trtexec, f"--option={option}") == 1
    assert sentence in capsys.readouterr().err
    assert (model / "1" / "model.plan").read_text() == "old"


def test_weights_that_were_changed_are_not_built(
    exported: Path, model: Path, trtexec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not the one in the record stops the build before it begins."""
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    data = bytearray((copy / DATA).read_bytes())
    data[4096] ^= 1
    (copy / DATA).write_bytes(data)
    assert run(copy, model, trtexec) == 1
    assert "is not the file that export.json speaks of" in capsys.readouterr().err
    (copy / RECORD).unlink()
    assert run(copy, model, trtexec) == 1
    assert "is not a complete export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--profile", "32*128"], "give ROWSxTOKENS"),
        (["--profile", "0x128"], "give ROWSxTOKENS"),
        (["--profile", "8x100", "--profile", "4x100"], "must take longer"),
        (["--profile", "4x100", "--profile", "8x200"], "not more sequences"),
        (["--profile", "1x301"], "exported for 300 tokens, a profile asks for 301"),
        (["--trtexec", "/nowhere/trtexec"], "/nowhere/trtexec was not found"),
    ],
    ids=str,
)
def test_options_that_cannot_be_met_are_one_sentence(
    exported: Path,
    model: Path,
    trtexec: str,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sentence: str,
) -> None:
    """They are refused before anything is built."""
    given = [str(exported), str(model), "--trtexec", trtexec]
    if "--profile" not in options:
        options = [*options, "--profile", "1x300"]
    assert build.main([*given, *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert not (model / "1" / "model.plan").exists()


def test_a_folder_that_is_no_model_gets_no_engine(
    exported: Path, tmp_path: Path, trtexec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped path is not made into a model."""
    assert run(exported, tmp_path / "typo", trtexec) == 1
    assert "holds no config.pbtxt" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_building_needs_no_packages() -> None:
    """The container with the GPU has Python alone: -S leaves this environment's packages out."""
    command = [sys.executable, "-S", "-E", build.__file__, "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "--profile ROWSxTOKENS" in finished.stdout
