"""Print the card of a model folder as one JSON object: `describe.py FOLDER [MODEL_NAME]`.

Exits 1 with one sentence on stderr where the folder is not a model that the backend can serve.
"""

import gc
import json
import sys
from pathlib import Path

from faults import ModelLoadError
from model_card import read_model_card


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    if len(arguments) not in (1, 2):
        print("usage: describe.py FOLDER [MODEL_NAME]", file=sys.stderr)
        return 2
    # A large vocabulary is a million small objects: collecting while reading doubles the time.
    gc.disable()
    try:
        card = read_model_card(Path(arguments[0]), *arguments[1:])
    except ModelLoadError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(card.as_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
