"""Read the JSON files of a model folder, with load errors that name the file."""

import json
from pathlib import Path
from typing import Any

from faults import ModelLoadError


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file, or {} where there is no file.

    Raises ModelLoadError where the file is not a JSON object.
    """
    content = _read_json(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ModelLoadError(f"{path} does not hold a JSON object")
    return content


def read_list(path: Path) -> list[dict[str, Any]]:
    """Return the JSON list of objects in the file, or [] where there is no file.

    Raises ModelLoadError where the file is not a list of objects.
    """
    content = _read_json(path)
    if content is None:
        return []
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ModelLoadError(f"{path} does not hold a JSON list of objects")
    return content


def _read_json(path: Path) -> Any:  # noqa: ANN401  # JSON is any shape until it is checked above
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read as JSON: {error}") from error
