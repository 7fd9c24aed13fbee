"""Builds a TensorRT engine from an exported graph: `build.py EXPORT MODEL`.

EXPORT is what export.py wrote; MODEL is a folder of the model repository, and gets 1/model.plan
and 1/build.json, which says what the engine was built from, by which TensorRT, for which GPU. To
be run where the engine will serve: an engine belongs to one kind of GPU and one TensorRT, so take
the trtexec of the Triton container that will load it. Needs Python 3.11 and its standard library.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export_faults import ExportError
from export_files import DATA, GRAPH, RECORD, sha256
from profiles import DEFAULT_PROFILES, Profile, read_profile, require_ladder, shape_options

PLAN, BUILD_RECORD = "model.plan", "build.json"
# Where NVIDIA's containers keep it, off the PATH.
_CONTAINER_TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
_VERSION = re.compile(r"\[TensorRT v(?P<version>[0-9]+)\]")
_GPU_QUERY = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]


def build_engine(
    export: Path, model: Path, profiles: Sequence[Profile], trtexec: str, extra: Sequence[str]
) -> None:
    """Build, then put the engine in place; an engine that was there stays until then.

    `extra` are further options of trtexec. Raises ExportError.
    """
    exported = _read_export(export, profiles)
    version_folder = model / "1"
    if not (model / "config.pbtxt").is_file():
        raise ExportError(f"{model} is not a model's folder: it holds no config.pbtxt")
    version_folder.mkdir(exist_ok=True)
    unfinished = version_folder / f"{PLAN}.unfinished"
    command = build_command(trtexec, export / GRAPH, unfinished, profiles, extra)
    log = _run(command)
    if not unfinished.is_file():
        raise ExportError(f"{trtexec} wrote no engine")
    record = {
        "export": exported,
        "command": shlex.join(command),
        "profiles": [[profile.rows, profile.tokens] for profile in profiles],
        "tensorrt": _version(log),
        "gpus": _gpus(),
        "files": {PLAN: sha256(unfinished)},
    }
    unfinished.replace(version_folder / PLAN)
    text = json.dumps(record, indent=2) + "\n"
    (version_folder / BUILD_RECORD).write_text(text, encoding="utf-8")


def build_command(
    trtexec: str, graph: Path, plan: Path, profiles: Sequence[Profile], extra: Sequence[str]
) -> list[str]:
    """Return the command line; types are the graph's own, so no precision is asked for."""
    return [
        trtexec,
        f"--onnx={graph}",
        "--stronglyTyped",
        *shape_options(profiles),
        f"--saveEngine={plan}",
        "--skipInference",
        *extra,
    ]


def find_trtexec(given: str | None) -> str:
    """Return the program: the given one, that on the PATH, or the container's; ExportError."""
    for candidate in (given,) if given else ("trtexec", _CONTAINER_TRTEXEC):
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise ExportError(
        f"{given or 'trtexec'} was not found: run this in Triton's or TensorRT's container"
    )


def _read_export(export: Path, profiles: Sequence[Profile]) -> dict[str, Any]:
    """Return the export's record, once its files are those that it speaks of; ExportError."""
    try:
        record: dict[str, Any] = json.loads((export / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        raise ExportError(f"{export} is not a complete export: {RECORD} is not there") from error
    for name in (GRAPH, DATA):
        if record["files"][name] != sha256(export / name):
            raise ExportError(f"{export / name} is not the file that {RECORD} speaks of")
    if profiles[-1].tokens > record["max_tokens"]:
        raise ExportError(
            f"{export} was exported for {record['max_tokens']} tokens, "
            f"a profile asks for {profiles[-1].tokens}"
        )
    return record


def _run(command: Sequence[str]) -> str:
    """Run trtexec, showing what it says; returns that. ExportError where it fails."""
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - the operator's own program, no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            sys.stderr.write(line)
            lines.append(line)
    if process.returncode != 0:
        raise ExportError(f"{command[0]} failed with status {process.returncode} (see above)")
    return "".join(lines)


def _version(log: str) -> str | None:
    """Return TensorRT's version as trtexec prints it: 101303 is 10.13.3."""
    found = _VERSION.search(log)
    return found["version"] if found else None


def _gpus() -> list[str]:
    """Return name, compute capability and driver of each GPU; none where there is no tool."""
    if shutil.which(_GPU_QUERY[0]) is None:
        return []
    asked = subprocess.run(_GPU_QUERY, capture_output=True, text=True, check=False)  # noqa: S603
    return asked.stdout.splitlines() if asked.returncode == 0 else []


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="build.py", description=(__doc__ or "").split(":")[0])
    parser.add_argument("export", type=Path, help="folder that export.py wrote")
    parser.add_argument("model", type=Path, help="the model's folder in the model repository")
    parser.add_argument("--profile", action="append", metavar="ROWSxTOKENS")
    parser.add_argument("--trtexec", help="program to build with")
    parser.add_argument("--option", action="append", help="a further option of trtexec")
    given = parser.parse_args(arguments)
    try:
        profiles = [read_profile(text) for text in given.profile or ()] or list(DEFAULT_PROFILES)
        require_ladder(profiles)
        trtexec = find_trtexec(given.trtexec)
        build_engine(given.export, given.model, profiles, trtexec, given.option or [])
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
