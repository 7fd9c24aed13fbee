"""Finds a model on the Hugging Face hub: `python -m router.up.hub ID [REVISION]`.

A program of its own, so that an interrupt ends a download at once; the next one resumes it.
Prints the folder, or exits 1 with one sentence.
"""

import sys
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

# Repositories hold the same weights in several formats: take one.
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model"]
_UNWANTED = ["onnx/*", "openvino/*"]


def download(model: str, revision: str | None) -> Path:
    """The model's folder in the hub's cache; ValueError with one sentence."""
    try:
        folder = snapshot_download(
            model, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
    except HFValidationError as error:
        raise ValueError("it is not a folder and not a Hugging Face id") from error
    except RevisionNotFoundError as error:
        raise ValueError(f"it has no revision {revision}") from error
    except GatedRepoError as error:
        raise ValueError("it is gated: accept its terms, and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise ValueError("the Hugging Face hub has no such model, or it is private") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ValueError(
            "it is not in the local cache, and the Hugging Face hub cannot be reached"
        ) from error
    return Path(folder)


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    try:
        folder = download(arguments[0], arguments[1] if len(arguments) > 1 else None)
    except ValueError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
