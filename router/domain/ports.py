"""What the pipeline needs from the rooms it brings together."""

from typing import Protocol

from router.domain.types import Float32Array, TokenBatch


class Upstream(Protocol):
    """A wire protocol to one target. It translates and calls; it never chooses or retries."""

    async def embed(self, batch: TokenBatch, timeout_s: float) -> Float32Array:
        """Vectors (n, dimension) float32 of the n sequences, in order.

        Raises UpstreamError, or DeadlineExceededError after `timeout_s` seconds. Cancelling it
        gives the work up at the target too.
        """
        ...

    async def ready(self) -> bool:
        """Whether the target would serve a request now; never raises for a target that is down."""
        ...

    async def close(self) -> None:
        """Give back connections; calls under way end with UpstreamUnavailableError."""
        ...


class TargetReports(Protocol):
    """Who wants to know what a target says of itself beside its vectors."""

    def rate_limited(self, remaining: int, reset_s: float) -> None:
        """So many requests or tokens are left for the next `reset_s` seconds."""
        ...

    def billed(self, counted_tokens: int, billed_tokens: int) -> None:
        """The target bills a call that the router counts otherwise, or alike."""
        ...


class Tokenizer(Protocol):
    """From text to the ids that the model takes, special tokens included."""

    @property
    def vocabulary_size(self) -> int:
        """Ids lie in [0, vocabulary_size)."""
        ...

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text with the model's special tokens, untruncated."""
        ...

    def decode(self, ids: list[int]) -> str | None:
        """The text whose encoding is exactly these complete ids; None where there is none."""
        ...

    def complete(self, ids: list[int]) -> list[int]:
        """The ids with those special tokens put back that are missing at either end."""
        ...

    def truncate(self, ids: list[int], max_tokens: int) -> list[int]:
        """Complete ids cut to `max_tokens`, special tokens kept at both ends."""
        ...
