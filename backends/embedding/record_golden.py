"""Write a model's golden vectors: `record_golden.py MODEL_FOLDER GOLDEN_JSON`.

In float32 on the CPU, with the engine itself; the vectors are worth as much as the proof that this
engine is right on these weights (`embedway verify`, or a reference implementation beside it).
"""

import json
import sys
from pathlib import Path

import numpy as np

from canaries import PROBES
from engine import Engine
from faults import ModelLoadError
from golden import Golden
from model_card import read_model_card
from settings import Settings
from text_tokenizer import TextTokenizer


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    if len(arguments) != 2:
        print("usage: record_golden.py MODEL_FOLDER GOLDEN_JSON", file=sys.stderr)
        return 2
    folder, path = map(Path, arguments)
    try:
        card = read_model_card(folder)
        engine = Engine(card, Settings(str(folder), None, 8192, "float32", "cpu", 8192, 60))
    except ModelLoadError as error:
        print(error, file=sys.stderr)
        return 1
    vectors = np.concatenate([engine.embed([ids]) for ids in TextTokenizer(card)(PROBES)])
    golden = Golden(list(PROBES), vectors)
    path.write_text(json.dumps(golden.as_json("this engine, float32, each text alone")) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
