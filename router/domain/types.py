"""The words of the domain as data: space, target, route, caller, request, result."""

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from router.domain.journal import Attempt, Journal
from router.domain.usage import Receipt

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Space:
    """A vector space: vectors of two texts may be compared only inside one.

    `matryoshka` is the inclusive range of dimensions that a slice may have, or None where the
    model was not trained for it. `prompts` maps an input type to a template with `{text}` and,
    where the model follows instructions, `{instruction}`; `provider_input_types` maps it to the
    word of a provider that prompts by itself. `tokenizer_id` tells one tokenizer from another.

    `id` (16 bytes) is a hash of all that shapes vectors or the ids that they are kept by: a space
    that is declared anew, under its old name, has another one.
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
    tokenizer_id: str = ""
    id: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Not max_tokens and matryoshka: they bound what is asked for, and change no vector.
        identity = {
            name: getattr(self, name)
            for name in (
                "name", "model", "revision", "dimensions", "lowercase", "prompts",
                "default_instruction", "provider_input_types", "tokenizer_id",
            )
        }  # fmt: skip
        text = json.dumps(identity, sort_keys=True).encode()
        object.__setattr__(self, "id", hashlib.blake2b(text, digest_size=16).digest())


@dataclass(frozen=True, slots=True)
class Target:
    """One deployment of a space, and how much may be under way there at once."""

    name: str
    space: str
    max_in_flight_requests: int
    max_in_flight_tokens: int


@dataclass(frozen=True, slots=True)
class Route:
    """The model name that clients ask for, and the targets of one space behind it, in order.

    `needs_texts` where one of them takes no ids; `is_hedged` where two may be asked side by side.
    """

    name: str
    space: Space
    targets: tuple[str, ...]
    needs_texts: bool = False
    is_hedged: bool = False


class Scope(StrEnum):
    """What a key may be used for. None of them holds another."""

    EMBED = "embed"
    BATCH = "batch"
    USAGE = "usage"
    ADMIN = "admin"


EMBED_ONLY: frozenset[Scope] = frozenset({Scope.EMBED})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant who pays, the name (never the value) of the key, what it is for."""

    tenant: str
    key_name: str
    scopes: frozenset[Scope] = EMBED_ONLY


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What is known of a key that a client may show: whose it is, and whether it still holds.

    `expires_s` is in seconds since the Unix epoch, None where it never ends.
    """

    caller: Caller
    expires_s: float | None = None
    is_disabled: bool = False


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """What has changed in the store up to `revision`: SHA-256 digests of keys, names of tenants.

    Where `is_complete` is False, more has changed than is remembered: believe nothing.
    """

    revision: int
    digests: tuple[bytes, ...] = ()
    tenants: tuple[str, ...] = ()
    is_complete: bool = True


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
    answer will come from the space its index was built in. `tag` is a word that rules may look
    at; `cache` allows vectors to be remembered, and taken from memory. What happens to it is noted
    in its `journal`.
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
    tag: str | None = None
    cache: bool = True
    request_id: str = ""
    journal: Journal = field(default_factory=Journal, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """`vectors` (n, dimension) float32, unit length, in the order of the inputs.

    `target` names who computed them, several with commas between; `cached_tokens` are those that
    no target had to compute. `attempts` are all calls that were made, in order of their end.
    """

    vectors: Float32Array
    prompt_tokens: int
    model: str
    space: str
    target: str
    cached_tokens: int = 0
    attempts: tuple[Attempt, ...] = ()
    receipt: Receipt | None = None
