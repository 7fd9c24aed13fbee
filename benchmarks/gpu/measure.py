"""What is measured on the device: rates, latencies, the wait behind a document, FP8's nearness."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoder import Encoder
from graphs import Recordings
from jobs import Job
from packing import Ids, pack
from qwen3_shape import Qwen3Shape
from scheduling import Scheduler


@dataclass(frozen=True, slots=True)
class Device:
    """Where things run; `wait` returns when all that was launched is done."""

    name: str

    def wait(self) -> None:
        """Wait for the device."""
        if self.name.startswith("cuda"):
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], rounds: int) -> list[float]:
        """Sorted seconds of `rounds` runs, after two that do not count."""
        taken = []
        for number in range(rounds + 2):
            self.wait()
            begun_s = time.perf_counter()
            work()
            self.wait()
            if number >= 2:
                taken.append(time.perf_counter() - begun_s)
        return sorted(taken)


def matrix_rate(device: Device, shape: Qwen3Shape, rows: int) -> float:
    """FLOP/s of a plain product of the model's largest kind, (rows, hidden) x (hidden, 2 I)."""
    dtype = torch.float32 if device.name == "cpu" else torch.bfloat16
    left = torch.randn(rows, shape.hidden, dtype=dtype, device=device.name)
    right = torch.randn(shape.hidden, 2 * shape.intermediate, dtype=dtype, device=device.name)
    best_s = device.seconds(lambda: left @ right, 20)[0]
    return 2.0 * rows * shape.hidden * 2 * shape.intermediate / best_s


def sequences_of(lengths: Sequence[int], vocab: int) -> list[Ids]:
    """Random ids of these lengths, the same every time."""
    dice = np.random.default_rng(3)
    return [dice.integers(0, vocab, length).astype(np.int32) for length in lengths]


def run(encoder: Encoder, sequences: Sequence[Ids], device: str) -> Tensor:
    """One whole pass: features (n, hidden) float32."""
    with torch.inference_mode():
        under_way = encoder.begin(pack(sequences, device))
        for _ in range(encoder.steps):
            encoder.step(under_way)
        return encoder.features(under_way)


def cosine(some: Tensor, others: Tensor) -> float:
    """The smallest of the rows' cosines."""
    return float(torch.nn.functional.cosine_similarity(some, others).min())


def query_latency_ms(
    encoder: Encoder, recordings: Recordings | None, device: Device, tokens: int, vocab: int
) -> tuple[float, float]:
    """p50 and p99 of one query alone, ids to vector on the host, milliseconds."""
    (query,) = sequences_of([tokens], vocab)

    def answer() -> object:
        with torch.inference_mode():
            recorded = recordings.features([query]) if recordings is not None else None
            found = run(encoder, [query], device.name) if recorded is None else recorded
            return torch.nn.functional.normalize(found, dim=-1).cpu()

    taken = device.seconds(answer, 200)
    return statistics.median(taken) * 1000, taken[int(len(taken) * 0.99)] * 1000


class _Pass:
    def __init__(self, encoder: Encoder, device: Device, sequences: Sequence[Ids]) -> None:
        self._encoder = encoder
        self._device = device
        with torch.inference_mode():
            self._under_way = encoder.begin(pack(sequences, device.name))

    def step(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
        """One layer, waited for: the scheduler looks at its lanes between layers."""
        with torch.inference_mode():
            self._encoder.step(self._under_way)
            self._device.wait()
            if self._under_way.steps_done < self._encoder.steps:
                return None
            features: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (
                self._encoder.features(self._under_way).cpu().numpy()
            )
            return features


def wait_behind_document_ms(
    encoder: Encoder, device: Device, document_tokens: int, vocab: int
) -> tuple[float, float]:
    """Longest wait of a query that comes while a document runs; and one layer of it, both in ms."""
    scheduler = Scheduler(lambda each: _Pass(encoder, device, each), 8192, document_tokens // 2)
    document, query = sequences_of([document_tokens, 16], vocab)
    scheduler.add([_job([document])])
    layers: list[float] = []
    waits: list[float] = []
    # All layers but the last, behind which there is nothing left to wait for.
    for _ in range(encoder.steps - 1):
        begun_s = time.perf_counter()
        scheduler.step(lambda: None)
        layers.append(time.perf_counter() - begun_s)
        asked = _job([query])
        # It came at the worst moment: as the layer that just ended began.
        scheduler.add([asked])
        while not asked.is_done:
            scheduler.step(lambda: None)
        waits.append(time.perf_counter() - begun_s)
    return max(waits) * 1000, statistics.median(layers) * 1000


def _job(sequences: list[Ids]) -> Job:
    return Job(sequences, (len(sequences),), lambda: False, lambda job: None)
