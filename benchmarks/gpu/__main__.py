"""`make bench-gpu`: tokens/s, latency and exactness of the engine on one GPU, under ten minutes.

Weights are random, since speed does not depend on them. FP8's nearness does: random layers add up
rounding as trained ones do not, so what is printed for it is a lower bound and no verdict.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.measure import (
    Device,
    cosine,
    matrix_rate,
    query_latency_ms,
    run,
    sequences_of,
    wait_behind_document_ms,
)
from benchmarks.gpu.random_encoder import SHAPES, random_encoder
from graphs import Recordings
from packing import Ids
from qwen3 import Qwen3Encoder
from qwen3_shape import Qwen3Shape

_BATCH_TOKENS = 8192
_BEGIN, _END = "<!-- bench-gpu begins -->", "<!-- bench-gpu ends -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, the figure, and its bar if it has one."""

    what: str
    figure: str
    bar: str = ""


def main() -> int:
    """Measure, print, and write the table where asked."""
    options = _options()
    device = Device("cuda:0" if torch.cuda.is_available() and not options.cpu else "cpu")
    shape = SHAPES[options.size]
    scale = 1 if device.name != "cpu" else 16
    rows = [_where(device, options.size), *_measure(device, shape, scale)]
    table = "\n".join(
        ["| measured | figure | bar |", "|---|---|---|"]
        + [f"| {row.what} | {row.figure} | {row.bar} |" for row in rows]
    )
    print(table)
    if options.write:
        _write(options.write, table)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("make bench-gpu", description="Measure the engine on a GPU.")
    parser.add_argument("--size", choices=SHAPES, default="4B")
    parser.add_argument("--cpu", action="store_true", help="try the script without a GPU")
    parser.add_argument("--write", type=Path, help="a page whose marked place gets the table")
    return parser.parse_args()


def _where(device: Device, size: str) -> Row:
    name = "a CPU" if device.name == "cpu" else torch.cuda.get_device_name()
    return Row("machine and model", f"{name}, torch {torch.__version__}, Qwen3-Embedding-{size}")


def _measure(device: Device, shape: Qwen3Shape, scale: int) -> Iterator[Row]:
    """`scale` divides token counts, to try the script on a CPU."""
    encoder = random_encoder(shape, device.name, _BATCH_TOKENS)
    budget = _BATCH_TOKENS // scale
    peak = matrix_rate(device, shape, budget)
    yield Row("plain matrix product", f"{peak / 1e12:.1f} TFLOP/s")
    loads = _loads(budget, scale)
    for name, lengths in loads.items():
        yield _rate(name, encoder, device, shape, lengths, peak)
    yield from _exactness(encoder, device, shape, scale)
    yield from _latency(encoder, device, shape, scale)
    if device.name != "cpu":
        yield from _in_fp8(encoder, device, shape, loads)


def _loads(budget: int, scale: int) -> dict[str, list[int]]:
    dice = np.random.default_rng(5)
    mixed = np.exp(dice.normal(np.log(120), 1.0, 1000)).clip(3, 2000).astype(int)
    few = int(np.searchsorted(np.cumsum(mixed), budget))
    return {
        "512-token documents": [512 // scale] * (budget * scale // 512),
        "texts of 16 tokens": [16] * (budget // 16),
        "mixed lengths, median 120": [int(length) for length in mixed[:few]],
        "one document of 32,768": [32768 // scale],
    }


def _rate(
    name: str, encoder: Qwen3Encoder, device: Device, shape: Qwen3Shape, lengths: list[int],
    peak: float,
) -> Row:  # fmt: skip
    sequences = sequences_of(lengths, shape.vocab)
    taken_s = device.seconds(lambda: run(encoder, sequences, device.name), 10)
    tokens, median_s = sum(lengths), taken_s[len(taken_s) // 2]
    flop = sum(n * shape.linear_flop_per_token + shape.attention_flop(n) for n in lengths)
    share = flop / median_s / peak
    bar = "75 % of the matrix rate (H200)" if name.startswith("512") else ""
    figure = f"{tokens / median_s:,.0f} tokens/s, {share:.0%} of the matrix rate"
    return Row(f"{name}, bfloat16", f"{figure}, {median_s * 1000:.1f} ms a batch", bar)


def _exactness(
    encoder: Qwen3Encoder, device: Device, shape: Qwen3Shape, scale: int
) -> Iterator[Row]:
    sequences = sequences_of([1, 2, 7, 16, 64, 300, 900 // scale + 1, 3000 // scale], shape.vocab)
    packed = run(encoder, sequences, device.name)
    alone = torch.cat([run(encoder, [ids], device.name) for ids in sequences])
    yield Row("packed against alone, smallest cosine", f"{cosine(packed, alone):.6f}", "0.9999")
    if device.name != "cpu":
        yield _recorded(encoder, device, sequences[:5], alone[:5])


def _recorded(
    encoder: Qwen3Encoder, device: Device, sequences: list[Ids], alone: torch.Tensor
) -> Row:
    with torch.inference_mode():
        found = Recordings(encoder, device.name).features(sequences)
    figure = "no bucket took them" if found is None else f"{cosine(found, alone):.6f}"
    return Row("replayed from CUDA graphs against alone", figure, "0.9999")


def _latency(encoder: Qwen3Encoder, device: Device, shape: Qwen3Shape, scale: int) -> Iterator[Row]:
    recordings = None
    if device.name != "cpu":
        with torch.inference_mode():
            recordings = Recordings(encoder, device.name)
    p50, p99 = query_latency_ms(encoder, recordings, device, 16, shape.vocab)
    yield Row("one query of 16 tokens alone", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", "p50 6 ms")
    wait, layer = wait_behind_document_ms(encoder, device, 32768 // scale, shape.vocab)
    figure = f"at most {wait:.1f} ms, where one layer takes {layer:.1f} ms"
    yield Row("a query's wait behind a document of 32,768", figure, "two layers")


def _in_fp8(
    encoder: Qwen3Encoder, device: Device, shape: Qwen3Shape, loads: dict[str, list[int]]
) -> Iterator[Row]:
    sequences = sequences_of([16, 64, 300, 900], shape.vocab)
    before = run(encoder, sequences, device.name)
    rounded = encoder.in_fp8()
    near = cosine(before, run(rounded, sequences, device.name))
    yield Row("FP8 against bfloat16, random weights", f"smallest cosine {near:.4f}", "0.995")
    name = "512-token documents"
    row = _rate(name, rounded, device, shape, loads[name], matrix_rate(device, shape, 8192))
    yield Row(f"{name}, FP8", row.figure, "120,000 tokens/s (H200)")


def _write(page: Path, table: str) -> None:
    text = page.read_text(encoding="utf-8")
    head, found, rest = text.partition(_BEGIN)
    _, closed, tail = rest.partition(_END)
    if not (found and closed):
        raise SystemExit(f"bench-gpu: {page} has no place for the table ({_BEGIN} … {_END})")
    page.write_text(f"{head}{_BEGIN}\n{table}\n{_END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
