"""What the engine asks of a transformer, whatever its architecture."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from packing import Pack


@dataclass(slots=True)
class Pass:
    """A forward pass under way: it may rest after any step, since it holds no key-value cache.

    `hidden`: the activations so far; `context`: what an encoder keeps between its steps.
    """

    pack: Pack
    hidden: Tensor
    context: Any = None
    steps_done: int = 0


class Encoder(Protocol):
    """From a pack of token ids to one vector of features a sequence."""

    @property
    def steps(self) -> int:
        """Steps in a pass, usually the layers of the model."""
        ...

    def begin(self, pack: Pack) -> Pass:
        """Look up the tokens' embeddings."""
        ...

    def step(self, under_way: Pass) -> None:
        """Take the pass one step further."""
        ...

    def features(self, finished: Pass) -> Tensor:
        """Pool a pass whose steps are done: (n, D x modes) float32, not yet of unit length."""
        ...
