"""The wheel that images are made from."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def make_wheel(folder: Path) -> Path:
    """Build it into `folder` as deploy/images/build.sh does."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    environment = os.environ | {
        "SOURCE_DATE_EPOCH": "1577836800",
        "PIP_CONSTRAINT": str(_ROOT / "constraints.txt"),
    }
    subprocess.run([*command, _ROOT], check=True, env=environment)
    [made] = folder.glob("embedway-*.whl")
    return made
