"""The files of an export: names that export.py writes and build.py reads, and their hashes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

GRAPH, DATA, RECORD = "model.onnx", "model.onnx.data", "export.json"


def hashes(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file by its name."""
    return {path.name: sha256(path) for path in files}


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
