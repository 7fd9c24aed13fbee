"""The sections about routing: strategies, rules, fallback, memory and tolerance."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from router.config.languages import LANGUAGES
from router.config.section import Name, SecretSettings, Section

StrategyName = Literal["priority", "weighted", "cheapest", "fastest"]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Script = Literal[
    "latin", "greek", "cyrillic", "armenian", "hebrew", "arabic", "devanagari", "bengali",
    "tamil", "telugu", "thai", "georgian", "hangul", "kana", "han",
]  # fmt: skip


def _known_language(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(f"{code!r} is no language that can be told: give a code such as fr")
    return code


Language = Annotated[str, AfterValidator(_known_language)]


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
    languages: list[Language] | None = None
    """Languages of the text by ISO 639 code, such as fr or zh; told from the first 400 characters,
    and unknown, so that no such rule holds, where they are too few to be sure. Needs
    embedway[languages]."""
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


class SharedCacheSettings(Section):
    """A Redis or Valkey behind the memory, which routers share. It holds hashes and vectors only.

    Every space needs a `revision`: what is kept there outlives a router, and so a model.
    """

    url: str | None = Field(None, pattern=r"^(rediss?|unix)://\S+$")
    """Address: redis://HOST:PORT/DB, rediss:// with TLS, or unix://PATH."""
    url_env: str | None = None
    """Environment variable that holds the address, where it has a password in it."""
    secret: SecretSettings | None = None
    """A secret of all routers that share, of 16 characters or more. With it nobody else can tell
    from a key which text it stands for, or write a vector that is believed."""
    namespace: Name = "embedway"
    """What the keys begin with; routers of another namespace share nothing with these."""
    ttl_s: float = Field(7 * 86_400.0, ge=1, le=366 * 86_400)
    """Seconds that a vector is kept."""
    timeout_s: float = Field(0.05, gt=0, le=5)
    """Seconds that a request waits for it at most, before it goes on without."""
    max_waiting_bytes: int = Field(32 * 1024 * 1024, ge=0)
    """Bytes of vectors that wait to be written; beyond it they are not kept there."""

    @model_validator(mode="after")
    def _one_address(self) -> "SharedCacheSettings":
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give exactly one of url, url_env")
        return self


class CacheSettings(Section):
    """The memory of vectors, in this process and in one that routers share."""

    max_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """Bytes of vectors that are remembered; 0 remembers none."""
    share_in_flight: bool = True
    """Whether an input that is being computed is waited for instead of computed again."""
    shared: SharedCacheSettings | None = None
    """The tier behind it that several routers share; null: each remembers by itself."""


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
