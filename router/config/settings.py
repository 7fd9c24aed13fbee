"""The configuration file as models: every field with its meaning and unit.

Unknown keys are refused. Secrets are named (an environment variable, a file), never written.
"""

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from router.config.authentication import AuthenticationSettings
from router.config.metering import QuotaSettings, StoreSettings
from router.config.pins import followed
from router.config.profiles import ProfileSettings, profiles_of
from router.config.routing import (
    CacheSettings,
    FallbackSettings,
    RuleSettings,
    StrategyName,
    VerificationSettings,
)
from router.config.section import Name, SecretSettings, Section
from router.config.telemetry import TelemetrySettings
from router.domain.errors import ConfigurationError
from router.domain.types import Scope

Positive = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class Server(Section):
    """Where the router listens, and what it accepts."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    port: Port = 8080
    """TCP port of the HTTP front doors (OpenAI and KServe v2)."""
    grpc_port: Port | None = 8081
    """TCP port of the KServe v2 gRPC front door; null leaves it closed."""
    request_timeout_s: float = Field(60.0, gt=0, le=3600)
    """Seconds a request may take before it is answered 504; 408 where its body has not come."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that serve these ports together."""
    drain_delay_s: float = Field(0.0, ge=0, le=3600)
    """Seconds after SIGTERM in which the router says that it is not ready, and serves all the same:
    those who send it requests need the time to hear of it."""
    drain_timeout_s: float = Field(30.0, ge=0, le=3600)
    """Seconds that requests under way are given at shutdown, after `drain_delay_s`."""
    max_body_bytes: int = Field(32 * 1024 * 1024, ge=1024)
    """Bytes of the largest request body; larger ones are answered 413."""
    max_inputs: int = Field(2048, ge=1)
    """Inputs of the largest request."""
    log_requests: bool = True
    """Whether each request is logged as one line of JSON (never its text)."""


class SpaceSettings(Section):
    """A vector space: a model, its revision, and all that shapes its vectors."""

    model: str
    """Hugging Face id of the model; names the space to people, and finds the tokenizer."""
    revision: str | None = None
    """Revision (commit, tag or branch) of the model; null is its default branch."""
    dimensions: int = Field(ge=1, le=65536)
    """Numbers in a full vector."""
    matryoshka: tuple[int, int] | None = None
    """Smallest and largest dimension that a slice may have; null where slices mean nothing."""
    max_tokens: int = Field(ge=8)
    """Tokens of the longest input, special tokens included."""
    tokenizer: Path | None = None
    """Folder that holds tokenizer.json; null takes it from the Hugging Face id."""
    lowercase: bool = False
    """Whether texts are put into lower case before they are tokenised, as some models want."""
    prompts: dict[str, str] = {}
    """Template by input type, with {text} and, for instructed models, {instruction}."""
    default_instruction: str | None = None
    """Instruction where a template has one and the request does not."""
    provider_input_types: dict[str, str] = {}
    """A provider's own word by input type, where it puts the prompt around the text itself."""
    verification: VerificationSettings = VerificationSettings()
    """How its targets are held against its reference."""

    @model_validator(mode="after")
    def _consistent(self) -> "SpaceSettings":
        if self.matryoshka is not None:
            low, high = self.matryoshka
            if not 1 <= low <= high <= self.dimensions:
                raise ValueError(f"matryoshka must lie within 1 and {self.dimensions}")
        for kind, template in self.prompts.items():
            if template.count("{text}") != 1 or template.count("{instruction}") > 1:
                raise ValueError(f"prompts.{kind} needs {{text}} once and {{instruction}} at most")
            if template.find("{instruction}") > template.find("{text}"):
                raise ValueError(f"prompts.{kind}: {{instruction}} must stand before {{text}}")
            if "{instruction}" in template and self.default_instruction is None:
                raise ValueError(f"prompts.{kind} has {{instruction}}: set default_instruction")
        return self


class TargetSettings(Section):
    """One deployment of a space."""

    space: Name
    """The space whose vectors this deployment gives."""
    upstream: Literal["triton", "openai", "cohere", "voyage", "fake"]
    """Wire protocol: triton (gRPC), openai (and all that speak it), cohere, voyage, or fake."""
    url: str | None = None
    """Address: grpc://host:port or grpcs://… of a Triton; null takes a provider's profile's."""
    model: str | None = None
    """The model's name at the target."""
    profile: Name | None = None
    """What is particular about the provider, built in or from `profiles`; null is the plainest."""
    api_key: SecretSettings | None = None
    """The provider's key."""
    body: dict[str, Any] = {}
    """Further fields of every call to the provider, beside those of the profile."""
    weight: float = Field(1.0, gt=0)
    """Share of requests under the strategy `weighted`."""
    timeout_s: float = Field(30.0, gt=0)
    """Seconds a call may take where another target could be asked after it."""
    max_inputs_per_call: int | None = Field(None, ge=2)
    """Inputs of the largest call; null takes the profile's limit."""
    max_tokens_per_call: int | None = Field(None, ge=1)
    """Tokens of the largest call; null takes the profile's limit."""
    max_tokens_per_input: int | None = Field(None, ge=1)
    """Tokens of the longest input; null takes the profile's limit."""
    canary: bool = True
    """Whether calls to a provider carry a short known text, whose vector proves the space."""
    max_in_flight_requests: int = Field(4096, ge=1)
    """Requests under way at once; beyond it a request is answered 429."""
    max_in_flight_tokens: int = Field(2_000_000, ge=1)
    """Tokens under way at once; beyond it a request is answered 429."""
    max_call_tokens: int = Field(8192, ge=0)
    """Small requests that arrive together share a call of up to this many tokens; 0: never."""
    padded_profiles: list[tuple[Positive, Positive]] | None = None
    """Shapes of padded batches that a TensorRT engine takes, as [sequences, tokens], short to long;
    null where the target takes packed sequences."""
    price_usd_per_million_tokens: Decimal | None = Field(None, ge=0, le=1_000_000)
    """USD per million input tokens; null takes the profile's price. Where that is not known either,
    quotas in USD refuse its routes."""

    @model_validator(mode="after")
    def _reachable(self) -> "TargetSettings":
        if self.upstream == "triton":
            if self.model is None:
                raise ValueError("a triton target needs a model")
            if not (self.url or "").startswith(("grpc://", "grpcs://")):
                raise ValueError("a triton target needs a url: grpc://host:port or grpcs://…")
        elif self.is_provider:
            if self.model is None or self.api_key is None:
                raise ValueError(f"a target of kind {self.upstream} needs a model and an api_key")
            if self.url is not None and not self.url.startswith(("http://", "https://")):
                raise ValueError("a provider's url begins with https:// or http://")
        return self

    @model_validator(mode="after")
    def _ladder(self) -> "TargetSettings":
        profiles = self.padded_profiles
        if profiles is None:
            return self
        if self.upstream != "triton" or not profiles:
            raise ValueError("padded_profiles: give one or more, and to a triton target only")
        for shorter, longer in itertools.pairwise(profiles):
            if longer[1] <= shorter[1] or longer[0] > shorter[0]:
                raise ValueError(
                    "padded_profiles: each must take longer and not more sequences than the last"
                )
        return self

    @property
    def is_provider(self) -> bool:
        """Whether it is spoken to over HTTP, in text."""
        return self.upstream in ("openai", "cohere", "voyage")

    @property
    def profile_name(self) -> str:
        """Its profile: the one that is named, or the plainest of its kind."""
        return self.profile or ("generic" if self.upstream == "openai" else self.upstream)


class RouteSettings(Section):
    """A model name that clients ask for."""

    targets: list[Name] = Field(min_length=1)
    """Targets of one space; the strategy `priority` tries them in this order."""
    quotas: list[QuotaSettings] = []
    """Limits of all requests to this route together."""
    strategy: StrategyName = "priority"
    """Which target is asked first: by order, by weight, by price, or by latency and load."""
    rules: list[RuleSettings] = []
    """Exceptions; the first that holds is taken."""
    spill_over_s: float | None = Field(None, gt=0)
    """Seconds that a call is predicted to take, by latency and by the tokens in flight before it,
    over which `cheapest` passes a target over; null: never."""
    hedge_quantile: float | None = Field(None, ge=0.5, lt=1)
    """Quantile of a target's latency after which a second one is asked as well; null: never."""


class KeySettings(Section):
    """An API key, known by its hash or by where its secret is kept."""

    name: Name
    """What the key is called in logs."""
    sha256: Sha256 | None = None
    """SHA-256 of the key in lower-case hexadecimal (`embedway keys new` prints it)."""
    env: str | None = None
    """Environment variable that holds the key."""
    file: Path | None = None
    """File that holds the key."""
    scopes: list[Scope] = [Scope.EMBED]
    """What the key may be used for; none of them holds another."""
    tags: dict[Name, str] = {}
    """Words to find it by."""
    expires: AwareDatetime | None = None
    """Time, with its zone, from which the key is refused; null is never."""
    disabled: bool = False
    """Whether the key is refused."""
    quotas: list[QuotaSettings] = []
    """Limits of this key."""

    @model_validator(mode="after")
    def _one_source(self) -> "KeySettings":
        if sum(source is not None for source in (self.sha256, self.env, self.file)) != 1:
            raise ValueError("give exactly one of sha256, env, file")
        return self


class TenantSettings(Section):
    """Who pays."""

    keys: list[KeySettings] = []
    """The keys that this tenant's clients present."""
    cache: bool = True
    """Whether this tenant's vectors may be remembered, and taken from memory."""
    disabled: bool = False
    """Whether all its keys and tokens are refused."""
    quotas: list[QuotaSettings] = []
    """Limits of all of this tenant's keys together."""
    pins: dict[Name, Name] = {}
    """For a name that this tenant's clients ask for, the route that answers them instead; the name
    need not be a route any more. Queries and index of a tenant change spaces together, so there is
    no pin of a part of its requests."""

    @model_validator(mode="after")
    def _no_circle(self) -> "TenantSettings":
        followed(self.pins)
        return self


class Settings(Section):
    """The whole file."""

    server: Server = Server()
    """Where the router listens, and what it accepts."""
    spaces: dict[Name, SpaceSettings]
    """Vector spaces by name."""
    targets: dict[Name, TargetSettings]
    """Deployments by name."""
    routes: dict[Name, RouteSettings]
    """Model names by name."""
    tenants: dict[Name, TenantSettings]
    """Tenants by name."""
    profiles: dict[Name, ProfileSettings] = {}
    """Providers beside the built-in ones, which they may extend or replace."""
    cache: CacheSettings = CacheSettings()
    """The memory of vectors."""
    fallback: FallbackSettings = FallbackSettings()
    """What happens when targets fail."""
    store: StoreSettings = StoreSettings()
    """The database of tenants, keys, quotas and the ledger."""
    authentication: AuthenticationSettings = AuthenticationSettings()
    """How keys of the store and tokens are held in memory, and whose tokens are taken."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """Where traces, metrics and logs go, and how much of them."""
    generation: int = Field(0, ge=0)
    """Number of this configuration, given by what writes it; a router tells which it serves."""

    @model_validator(mode="after")
    def _names_meet(self) -> "Settings":
        for name, target in self.targets.items():
            if target.space not in self.spaces:
                raise ValueError(f"targets.{name}.space: there is no space {target.space!r}")
            self._check_length(name, target)
        for name, space in self.spaces.items():
            reference = space.verification.reference
            if reference is not None and (
                reference not in self.targets or self.targets[reference].space != name
            ):
                raise ValueError(
                    f"spaces.{name}.verification.reference: {reference!r} is none of its targets"
                )
            if self.cache.shared is not None and space.revision is None:
                raise ValueError(
                    f"spaces.{name}.revision: is needed with cache.shared: without it nobody can "
                    "tell an old model's vectors from a new one's"
                )
        for name, route in self.routes.items():
            self._check_route(name, route)
        for name, tenant in self.tenants.items():
            for asked, answering in tenant.pins.items():
                if answering not in self.routes and answering not in tenant.pins:
                    raise ValueError(
                        f"tenants.{name}.pins.{asked}: there is no route {answering!r}"
                    )
        self._check_profiles()
        return self

    def _check_length(self, name: str, target: TargetSettings) -> None:
        """What a space promises, each of its targets has to take."""
        promised = self.spaces[target.space].max_tokens
        longest = target.padded_profiles[-1][1] if target.padded_profiles else promised
        if longest < promised:
            raise ValueError(
                f"targets.{name}.padded_profiles: the longest takes {longest} tokens, "
                f"spaces.{target.space}.max_tokens promises {promised}"
            )

    def _check_profiles(self) -> None:
        try:
            profiles = profiles_of(self.profiles)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        for name, target in self.targets.items():
            if not target.is_provider:
                continue
            profile = profiles.get(target.profile_name)
            if profile is None:
                known = ", ".join(sorted(profiles))
                raise ValueError(f"targets.{name}.profile: there are only {known}")
            if target.url is None and profile.url is None:
                raise ValueError(f"targets.{name}.url: {target.profile_name} has none: give it")
            dimensions = self.spaces[target.space].dimensions
            if profile.dimensions is not None and dimensions not in profile.dimensions:
                raise ValueError(
                    f"targets.{name}: {target.profile_name} cannot give {dimensions} dimensions"
                )

    @property
    def is_metered(self) -> bool:
        """Whether usage is counted: the file names a store, or a quota of any kind."""
        tenants = self.tenants.values()
        return (
            "store" in self.model_fields_set
            or any(route.quotas for route in self.routes.values())
            or any(tenant.quotas for tenant in tenants)
            or any(key.quotas for tenant in tenants for key in tenant.keys)
        )

    def _check_route(self, name: str, route: RouteSettings) -> None:
        for target in route.targets:
            if target not in self.targets:
                raise ValueError(f"routes.{name}.targets: there is no target {target!r}")
        for rule in route.rules:
            for target in rule.targets or ():
                if target not in route.targets:
                    raise ValueError(
                        f"routes.{name}.rules.{rule.name}: the route has no target {target!r}"
                    )
        spaces = sorted({self.targets[target].space for target in route.targets})
        if len(spaces) > 1:
            raise ValueError(
                f"routes.{name}.targets: a route stays in one space, these lie in "
                + " and ".join(spaces)
            )
