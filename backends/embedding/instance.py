"""One instance of one model: everything behind Triton's glue, built and started."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from canaries import PROBES, Canaries
from engine import FP8_MIN_COSINE, Engine
from faults import ModelLoadError, NotReadyError
from golden import Golden, read_golden
from jobs import Job
from model_card import ModelCard
from packing import Ids
from scheduling import Scheduler
from settings import Settings
from text_tokenizer import TextTokenizer
from worker import Worker

# How near to float32 the vectors of a number format have to come.
_MIN_COSINE = {"float32": 0.9999, "bfloat16": 0.999, "fp8": FP8_MIN_COSINE}


class Instance:
    """Takes jobs and delivers them, from threads of its own, while its canaries are right."""

    def __init__(
        self, card: ModelCard, settings: Settings, model_folder: Path, log: Callable[[str], None]
    ) -> None:
        """Load and check the model. `model_folder` is the one of config.pbtxt.

        Raises ModelLoadError with one sentence, canaries that answer wrongly included.
        """
        self.card = card
        self.tokenise = TextTokenizer(card)
        golden = read_golden(model_folder)
        self._engine = Engine(card, settings)
        probes = self._prepared(PROBES)
        dtype = settings.dtype
        if dtype == "fp8" and not (cosine := self._engine.use_fp8(probes)) >= FP8_MIN_COSINE:
            log(f"FP8 was not taken: cosine {cosine:.5f} to bfloat16, {FP8_MIN_COSINE} is needed")
            dtype = "bfloat16"
        if self._engine.record_short_passes():
            log("short batches are replayed from CUDA graphs")
        self._canaries = Canaries(
            self._engine.embed,
            probes,
            self._with_ids(golden),
            _MIN_COSINE[dtype],
            settings.canary_interval_s,
            time.perf_counter,
            log,
        )
        self._canaries.ask()
        if self._canaries.fault is not None:
            raise ModelLoadError(f"the model is not ready: {self._canaries.fault}")
        scheduler = Scheduler(self._engine.begin, settings.max_batch_tokens, settings.long_tokens)
        self._worker = Worker(scheduler, settings.max_batch_tokens, self._canaries)
        self._worker.start()

    @property
    def fault(self) -> str | None:
        """Why the model is not ready, None while it is."""
        return self._canaries.fault

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand jobs in; returns once there is room for more."""
        self._worker.submit(jobs)

    def require_ready(self) -> None:
        """Raise NotReadyError while a canary is wrong."""
        if self._canaries.fault is not None:
            raise NotReadyError(f"the model is not ready: {self._canaries.fault}")

    def close(self) -> None:
        """Finish what was handed in."""
        self._worker.close()

    def _prepared(self, texts: Sequence[str]) -> list[Ids]:
        """Tokenise, cut to the model's length, and keep to ids that the model has rows for."""
        sequences = [ids[: self.card.max_tokens] for ids in self.tokenise(texts)]
        return [ids.clip(max=self.card.vocab_size - 1) for ids in sequences if len(ids)]

    def _with_ids(self, golden: Golden | None) -> tuple[Golden, list[Ids]] | None:
        return None if golden is None else (golden, list(self.tokenise(golden.texts)))
