"""The sections about routing: strategies, rules, fallback, memory and tolerance."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from router.config.section import Name, Section

StrategyName = Literal["priority", "weighted", "cheapest", "fastest"]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Script = Literal[
    "latin", "greek", "cyrillic", "armenian", "hebrew", "arabic", "devanagari", "bengali",
    "tamil", "telugu", "thai", "georgian", "hangul", "kana", "han",
]  # fmt: skip


class WhenSettings(Section):
    """When a rule holds: everything that is given must."""

    tenants: list[Name] | None = None
    """Tenants whose requests are meant."""
    tags: list[Name] | None = None
    """Values of the header x-embedway-tag."""
    input_types: list[Name] | None = None
    """Input types; a request without one is a document."""
    scripts: list[Script] | None = None
    """Scripts of the text; it is told from the first letters, and is no language."""
    min_tokens: int | None = Field(None, ge=1)
    """Tokens that the longest input has at least."""
    max_tokens: int | None = Field(None, ge=1)
    """Tokens that the longest input has at most."""
    from_time: TimeOfDay | None = None
    """Begin of a time of day, HH:MM in UTC."""
    to_time: TimeOfDay | None = None
    """Its end; before the begin it lies on the next day."""

    @model_validator(mode="after")
    def _whole(self) -> "WhenSettings":
        if (self.from_time is None) != (self.to_time is None):
            raise ValueError("from_time and to_time belong together")
        return self


class RuleSettings(Section):
    """An exception from a route's strategy; the first rule that holds is taken."""

    name: Name
    """What the rule is called in explanations."""
    when: WhenSettings
    """The requests that it is about."""
    targets: list[Name] | None = Field(None, min_length=1)
    """Some of the route's targets, in an order of their own; null takes all."""
    strategy: StrategyName | None = None
    """Another strategy; null takes the route's."""


class FallbackSettings(Section):
    """What happens when targets fail."""

    breaker_failures: int = Field(3, ge=1)
    """Failures in a row after which a target is left alone for a while."""
    breaker_failure_ratio: float = Field(0.25, gt=0, le=1)
    """Share of failures among a target's latest calls after which it is left alone."""
    breaker_open_s: float = Field(1.0, gt=0)
    """Seconds for which it is left alone at first; each failed probe doubles them."""
    breaker_longest_open_s: float = Field(30.0, gt=0)
    """Seconds for which it is left alone at most."""
    retry_ratio: float = Field(0.2, ge=0, le=1)
    """Calls that may be made again for each that is made for the first time."""
    retries_per_s: float = Field(10.0, ge=0)
    """Calls that may be made again in a second, however few there are."""
    max_parallel_calls: int = Field(8, ge=1)
    """Calls under way at once for one request that had to be cut into several."""


class CacheSettings(Section):
    """The memory of vectors, in this process."""

    max_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """Bytes of vectors that are remembered; 0 remembers none."""
    share_in_flight: bool = True
    """Whether an input that is being computed is waited for instead of computed again."""


class VerificationSettings(Section):
    """How targets of a space are held against its reference."""

    enabled: bool = True
    """Whether targets are verified; false trusts them as they are configured."""
    reference: Name | None = None
    """Target whose vectors define the space; null takes its first in the file."""
    reference_file: Path | None = None
    """File of reference vectors (`embedway verify --write`), used instead of the reference."""
    interval_s: float = Field(300.0, gt=0)
    """Seconds between two checks of a verified target."""
    min_cosine: float = Field(0.99, gt=0, le=1)
    """Cosine that each golden text must have with its reference."""
    min_rank_agreement: float = Field(0.9, ge=-1, le=1)
    """Spearman correlation that the likenesses of all pairs must have with the reference's."""
    max_norm_error: float = Field(0.02, gt=0)
    """How far a vector's length may be from one."""
