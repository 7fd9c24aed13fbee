"""Canaries: a model is ready only while it answers what it is known to answer.

At the start, and then every so often, some fixed texts are embedded: together and each alone, as
golden vectors want them, and with openings known to give NaN in narrow number formats. What they
gave at the start is remembered, so that a device which begins to compute wrongly is found out.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from faults import BackendError
from golden import Golden
from packing import Ids

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[Ids]], Vectors]

# Texts of many lengths and scripts. Some models overflow float16 on texts that begin with "import".
PROBES = (
    "a",
    "import",
    "import numpy as np\n\n\ndef mean(values):\n    return np.asarray(values).mean()\n",
    "The harbour was quiet until the first fishing boats came home.",
    "港は最初の漁船が戻るまで静かだった。",
    "Le port \u00e9tait calme jusqu'au retour des premiers bateaux de p\u00eache.",
    "Le port e\u0301tait calme.",
    "Instruct: Find the passage that answers\nQuery:who comes home first?",
    "0123456789 " * 12,
)
# A text packed with others against the same text alone, whatever the number format.
_MIN_COSINE_ALONE = 0.9999


class Canaries:
    """Watches one model; `fault` says why it is not ready, None while it is."""

    def __init__(
        self,
        embed: Embed,
        probes: Sequence[Ids],
        golden: tuple[Golden, Sequence[Ids]] | None,
        min_cosine: float,
        every_s: float,
        clock: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        """`min_cosine`: how near the number format has to come to float32; `clock` in seconds.

        `log` is told of every change.
        """
        self._embed = embed
        self._probes = probes
        self._golden = golden
        self._min_cosine = min_cosine
        self._every_s = every_s
        self._clock = clock
        self._log = log
        self._at_start: Vectors | None = None
        self._turn = 0
        self._next_s = clock()
        self.fault: str | None = "its canaries were not asked yet"

    def due_in_s(self) -> float:
        """Seconds until the canaries are to be asked again."""
        return max(0.0, self._next_s - self._clock())

    def keep(self) -> None:
        """Ask them, if it is time."""
        if self._clock() >= self._next_s:
            self.ask()

    def ask(self) -> None:
        """Ask them now, and say in `fault` what is wrong."""
        before, self.fault = self.fault, self._found()
        if self.fault != before:
            self._log(f"canaries: {self.fault or 'right, the model is ready'}")
        self._next_s = self._clock() + self._every_s

    def _found(self) -> str | None:
        try:
            return self._complaint()
        except BackendError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever torch raises, the model is not ready
            return f"a canary failed: {type(error).__name__}"

    def _complaint(self) -> str | None:
        together = self._embed(self._probes)
        for place in self._to_ask_alone():
            alone = self._embed([self._probes[place]])
            if not (cosine := _nearness(together[[place]], alone)) >= _MIN_COSINE_ALONE:
                return f"a text among others and alone differ: cosine {cosine:.5f}"
        if self._golden is not None:
            golden, sequences = self._golden
            complaint = golden.complaint(self._embed(sequences), self._min_cosine)
            if complaint is not None:
                return complaint
        if self._at_start is None:
            self._at_start = together
        elif not (cosine := _nearness(together, self._at_start)) >= _MIN_COSINE_ALONE:
            return f"a text's vector has drifted since the start: cosine {cosine:.5f}"
        return None

    def _to_ask_alone(self) -> Sequence[int]:
        """Return every probe's place at the start, and later one at a time: requests wait."""
        if self._at_start is None:
            return range(len(self._probes))
        self._turn = (self._turn + 1) % len(self._probes)
        return (self._turn,)


def _nearness(some: Vectors, others: Vectors) -> float:
    """Smallest cosine of two sets of unit vectors, row by row; NaN where one is not a number."""
    return float((some * others).sum(axis=1).min())
