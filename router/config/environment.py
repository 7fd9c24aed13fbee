"""The one file that reads the process's environment."""

import os
from collections.abc import Mapping


def process_environment() -> Mapping[str, str]:
    """The environment variables, to be passed on from the outermost caller."""
    return os.environ
