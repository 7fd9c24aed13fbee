"""The words of the domain as data: space, target, route, caller, request, result."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Space:
    """A vector space: vectors of two texts may be compared only inside one.

    `matryoshka` is the inclusive range of dimensions that a slice may have, or None where the
    model was not trained for it. `prompts` maps an input type to a template with `{text}` and,
    where the model follows instructions, `{instruction}`; `provider_input_types` maps it to the
    word of a provider that prompts by itself.
    """

    name: str
    model: str
    dimensions: int
    max_tokens: int
    revision: str | None = None
    matryoshka: tuple[int, int] | None = None
    lowercase: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_instruction: str | None = None
    provider_input_types: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One deployment of a space, and how much may be under way there at once."""

    name: str
    space: str
    max_in_flight_requests: int
    max_in_flight_tokens: int


@dataclass(frozen=True, slots=True)
class Route:
    """The model name that clients ask for, and the targets of one space behind it, in order."""

    name: str
    space: Space
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant who pays, and the name (never the value) of the key shown."""

    tenant: str
    key_name: str


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Sequences of token ids, packed end to end: `ids` (total,) int32, `lengths` (n,) int32.

    `texts` are the same sequences as text, prompt included, for targets that take no ids; None
    where no text gives exactly these ids. `input_type` is the word of a provider that puts the
    prompt around the text itself; vectors of different types differ though the ids do not.
    """

    ids: Int32Array
    lengths: Int32Array
    texts: tuple[str, ...] | None = field(default=None, repr=False)
    input_type: str | None = None

    @property
    def total(self) -> int:
        """Tokens in all sequences together."""
        return len(self.ids)

    @property
    def count(self) -> int:
        """Number of sequences."""
        return len(self.lengths)


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """What a front door understood: n inputs, all text or all token ids.

    `deadline_s` is on the monotonic clock. `pinned_space` is the caller's own check that the
    answer will come from the space its index was built in.
    """

    model: str
    deadline_s: float
    texts: list[str] | None = None
    token_ids: list[list[int]] | None = None
    dimensions: int | None = None
    input_type: str | None = None
    instruction: str | None = None
    truncate: bool = False
    pinned_space: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """`vectors` (n, dimension) float32, unit length, in the order of the inputs."""

    vectors: Float32Array
    prompt_tokens: int
    model: str
    space: str
    target: str
