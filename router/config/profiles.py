"""What is particular about each provider, as data: `providers.yaml` and the file's `profiles`."""

import functools
from collections.abc import Mapping
from decimal import Decimal
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints

from router.config.section import Section
from router.domain.errors import ConfigurationError

DottedPath = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[a-z_]+)*$")]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]


class RateLimitHeaders(Section):
    """Names of the headers in which a provider says what is left of its limits."""

    remaining_requests: HeaderName | None = None
    """Header with the requests that are left in the window."""
    reset_requests: HeaderName | None = None
    """Header with the time until that window ends."""
    remaining_tokens: HeaderName | None = None
    """Header with the tokens that are left in the window."""
    reset_tokens: HeaderName | None = None
    """Header with the time until that window ends."""


class ProfileSettings(Section):
    """What a provider takes, what it must never be sent, and where its answers keep what."""

    extends: str | None = None
    """Profile whose settings hold where this one is silent."""
    url: str | None = None
    """Base address; null where every target has to name its own."""
    max_inputs: int | None = Field(None, ge=1)
    """Inputs of the largest call; null where no limit is known."""
    max_input_tokens: int | None = Field(None, ge=1)
    """Tokens of the longest input; null where no limit is known."""
    max_call_tokens: int | None = Field(None, ge=1)
    """Tokens of the largest call; null where no limit is known."""
    encoding_format: Literal["base64", "float"] | None = None
    """How vectors are asked for; null never sends the field, which some providers refuse."""
    sends_dimensions: bool = False
    """Whether the space's dimension is sent; false where the model refuses the field."""
    dimensions: list[int] | None = None
    """Dimensions that the provider can give; null where any may be asked for."""
    normalise: bool = False
    """Whether the router brings the vectors to unit length, as the provider may not."""
    usage: DottedPath | None = None
    """Where an answer says how many tokens are billed; null where the router's count stands."""
    error_code: DottedPath | None = "error.code"
    """Where an error says its code; null where it has none."""
    exhausted_codes: list[str] = []
    """Codes that mean "no credit left": the target rests for longer than after a 429."""
    rate_limit: RateLimitHeaders = RateLimitHeaders()
    """Headers that say what is left of the provider's limits."""
    trace_header: HeaderName | None = None
    """Header with the provider's own id of the call, for its support."""
    body: dict[str, Any] = {}
    """Further fields of every call's body, sent as they stand."""
    prices: dict[str, Annotated[Decimal, Field(ge=0)]] = {}
    """USD per million input tokens by the provider's model name."""
    default_price: Decimal | None = Field(None, ge=0)
    """USD per million input tokens of models that `prices` does not name."""


def profiles_of(own: Mapping[str, ProfileSettings]) -> dict[str, ProfileSettings]:
    """Built-in profiles and those of the configuration, which may replace them, all resolved.

    ConfigurationError where one extends a profile that is not there, or itself.
    """
    written = _built_in()
    every = {**written, **own}
    return {name: _resolved(name, every, written, ()) for name in every}


@functools.cache
def _built_in() -> Mapping[str, ProfileSettings]:
    """Read once: the file is part of the program, and every check of a configuration needs it."""
    text = resources.files("router.config").joinpath("providers.yaml").read_text(encoding="utf-8")
    return {name: ProfileSettings(**fields) for name, fields in yaml.safe_load(text).items()}


def _resolved(
    name: str,
    every: Mapping[str, ProfileSettings],
    written: Mapping[str, ProfileSettings],
    path: tuple[str, ...],
) -> ProfileSettings:
    profile = every[name]
    base = profile.extends
    if base is None:
        return profile
    if base not in every or base in path:
        raise ConfigurationError(f"profiles.{name}.extends: there is no profile {base!r} to extend")
    # A profile that bears the name of the one it extends adds to the built-in one.
    source = written if base == name and profile is not written.get(name) else every
    if base not in source:
        raise ConfigurationError(f"profiles.{name}.extends: there is no profile {base!r} to extend")
    parent = _resolved(base, source, written, (*path, name))
    fields = parent.model_dump(exclude_unset=True) | profile.model_dump(exclude_unset=True)
    return ProfileSettings(**fields | {"extends": None})
