"""Turns a published Qwen3-Embedding folder into an ONNX graph: `export.py FOLDER OUT`.

OUT gets model.onnx, its weights in model.onnx.data, and export.json, which says what they were
made from; export.json comes last, so a folder that has it is complete. Exits 1 with one sentence
on stderr where the folder is not a model that the graph can do.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from decoder_config import read_decoder_config
from decoder_graph import DecoderGraph, Report
from export_faults import ExportError
from export_files import DATA, GRAPH, RECORD, hashes
from graph_builder import GraphBuilder, save_model
from profiles import DEFAULT_PROFILES
from published_weights import PublishedWeights

# Never float16: some texts give NaN.
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def export_model(folder: Path, out: Path, dtype: str, max_tokens: int, report: Report) -> None:
    """Write the graph for sequences of up to `max_tokens` tokens; `dtype` is a key of DTYPES.

    Holds one matrix product's weights in memory at a time. Raises ExportError.
    """
    config = read_decoder_config(folder)
    if not 1 <= max_tokens <= config.max_positions:
        raise ExportError(f"{folder}: the model has {config.max_positions} positions")
    weights = PublishedWeights(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / RECORD).unlink(missing_ok=True)
    with (out / DATA).open("wb") as data:
        graph = DecoderGraph(config, DTYPES[dtype], weights.read, GraphBuilder(data, DATA))
        model = graph.write(max_tokens, report)
    save_model(model, out / GRAPH)
    onnx.checker.check_model(out / GRAPH)
    record = {
        "dtype": dtype,
        "max_tokens": max_tokens,
        "onnx": onnx.__version__,
        "source": hashes([folder / "config.json", *weights.files]),
        "files": hashes([out / GRAPH, out / DATA]),
    }
    (out / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="export.py", description=(__doc__ or "").split(":")[0])
    parser.add_argument("folder", type=Path, help="config.json and safetensors of the model")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--max-tokens", type=int, default=DEFAULT_PROFILES[-1].tokens)
    given = parser.parse_args(arguments)
    try:
        export_model(given.folder, given.out, given.dtype, given.max_tokens, _print_progress)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _print_progress(done: int, layers: int) -> None:
    end = "\n" if done == layers or not sys.stderr.isatty() else "\r"
    print(f"layer {done} of {layers}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
