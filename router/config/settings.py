"""The configuration file as models: every field with its meaning and unit.

Unknown keys are refused. Secrets are named (an environment variable, a file), never written.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from router.domain.types import Scope

NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"
]
Port = Annotated[int, Field(ge=0, le=65535)]


_NANO = Decimal(10) ** 9
_MOST = 2**62


def is_safe_url(url: str) -> bool:
    """Whether nobody between us and the address can change what it says: TLS, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    )


class Section(BaseModel):
    """Common ground: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Server(Section):
    """Where the router listens, and what it accepts."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all."""
    port: Port = 8080
    """TCP port of the HTTP front doors (OpenAI and KServe v2)."""
    grpc_port: Port | None = 8081
    """TCP port of the KServe v2 gRPC front door; null leaves it closed."""
    request_timeout_s: float = Field(60.0, gt=0, le=3600)
    """Seconds a request may take before it is answered 504."""
    drain_timeout_s: float = Field(30.0, ge=0, le=3600)
    """Seconds that requests under way are given at shutdown."""
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
    upstream: Literal["triton", "fake"]
    """Wire protocol: triton (gRPC), or fake (vectors made up from the ids, for trying out)."""
    url: str | None = None
    """Address, as grpc://host:port or grpcs://host:port."""
    model: str | None = None
    """The model's name at the target."""
    max_in_flight_requests: int = Field(4096, ge=1)
    """Requests under way at once; beyond it a request is answered 429."""
    max_in_flight_tokens: int = Field(2_000_000, ge=1)
    """Tokens under way at once; beyond it a request is answered 429."""
    max_call_tokens: int = Field(8192, ge=0)
    """Small requests that arrive together share a call of up to this many tokens; 0: never."""
    price_usd_per_million_tokens: Decimal | None = Field(None, ge=0, le=1_000_000)
    """USD per million input tokens; null: not known, and quotas in USD refuse its routes."""

    @model_validator(mode="after")
    def _reachable(self) -> "TargetSettings":
        if self.upstream == "triton":
            if self.model is None:
                raise ValueError("a triton target needs a model")
            if not (self.url or "").startswith(("grpc://", "grpcs://")):
                raise ValueError("a triton target needs a url: grpc://host:port or grpcs://…")
        return self


class QuotaSettings(Section):
    """A limit for a tenant, a key or a route; windows start anew by the calendar in UTC."""

    unit: Literal["requests", "tokens", "usd"]
    """What is limited."""
    limit: Decimal = Field(ge=0)
    """How much of it in a window; whole numbers, for usd up to 9 decimals."""
    window: Literal["minute", "hour", "day", "month", "total"]
    """When it starts anew; total: never."""
    mode: Literal["hard", "soft", "shadow"] = "hard"
    """hard refuses, soft warns (a header and a line in the log), shadow only counts."""

    @model_validator(mode="after")
    def _whole(self) -> "QuotaSettings":
        if self.limit_amount != self.limit * (_NANO if self.unit == "usd" else 1):
            raise ValueError("limit must be a whole number (for usd: with at most 9 decimals)")
        if self.limit_amount > _MOST:
            raise ValueError(f"limit must be at most {_MOST} (usd: nano-USD)")
        return self

    @property
    def limit_amount(self) -> int:
        """The limit in requests, tokens or nano-USD."""
        return int(self.limit * (_NANO if self.unit == "usd" else 1))


class RouteSettings(Section):
    """A model name that clients ask for."""

    targets: list[Name] = Field(min_length=1)
    """Targets of one space, in the order in which they are tried."""
    quotas: list[QuotaSettings] = []
    """Limits of all requests to this route together."""


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
    disabled: bool = False
    """Whether all its keys and tokens are refused."""
    quotas: list[QuotaSettings] = []
    """Limits of all of this tenant's keys together."""


class IssuerSettings(Section):
    """An OpenID Connect provider whose tokens are taken in place of keys."""

    issuer: str
    """The `iss` of its tokens, to the letter."""
    audience: list[str] = Field(min_length=1)
    """A token must be meant for one of these (`aud`)."""
    jwks_url: str | None = None
    """Address of its public keys; null finds it through the issuer's discovery document."""
    algorithms: list[Algorithm] = Field(["RS256"], min_length=1)
    """Signatures that are taken, whatever a token or a public key says of itself."""
    tenant_claim: str = "tenant"
    """Claim that says who pays; dots lead into nested claims."""
    tenants: dict[str, Name] = {}
    """Tenant by the claim's value; empty takes the value itself as the tenant's name."""
    scope_claim: str = "scope"
    """Claim with the scopes, as a list or as words with blanks between; dots lead inside."""
    scopes: dict[str, list[Scope]] = {f"embedway:{scope}": [scope] for scope in Scope}
    """Scopes by each value that the claim may hold; other values give none."""
    name_claim: str = "sub"
    """Claim that names the bearer in logs and the ledger."""
    leeway_s: float = Field(30.0, ge=0, le=300)
    """Seconds that the provider's clock and ours may differ."""

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _is_safe(cls, url: str | None) -> str | None:
        if url is not None and not is_safe_url(url):
            raise ValueError("must be an https:// address")
        return url


class StoreSettings(Section):
    """The database of tenants, keys, quotas and the ledger."""

    url: str = "sqlite:///embedway.db"
    """sqlite:///FILE, or postgresql://user@host/database with the password elsewhere."""
    url_env: str | None = None
    """Environment variable that holds the address, where it has a password in it."""
    state: Path = Path(".embedway/state")
    """Folder on a lasting disk of this machine; usage is there until it is in the database."""
    sync_interval_s: float = Field(1.0, ge=0.1, le=3600)
    """Seconds between syncs of the state folder: what a loss of power may take, not a crash."""
    usage_days: float = Field(90, gt=0)
    """Days that single usage records are kept."""
    hourly_days: float = Field(400, gt=0)
    """Days that usage by hour, and windows of quotas that are over, are kept."""
    daily_days: float = Field(3650, gt=0)
    """Days that usage by day is kept."""


class AuthenticationSettings(Section):
    """How keys of the store and tokens are held in memory, and whose tokens are taken."""

    max_known_keys: int = Field(50_000, ge=1)
    """Keys and tokens kept in memory, about 600 bytes each; the least recently used go first."""
    max_unknown_keys: int = Field(10_000, ge=1)
    """Wrong keys kept in memory, so that the store is not asked for them again."""
    max_staleness_s: float = Field(300.0, ge=2)
    """Seconds that keys in memory go on working while the store cannot be reached; then 503."""
    issuers: dict[Name, IssuerSettings] = {}
    """OpenID Connect providers by name."""

    @model_validator(mode="after")
    def _issuers_differ(self) -> "AuthenticationSettings":
        names = [issuer.issuer for issuer in self.issuers.values()]
        if len(set(names)) < len(names):
            raise ValueError("two issuers have the same `issuer`")
        return self


class Settings(Section):
    """The whole file."""

    server: Server = Server()
    """Where the router listens, and what it accepts."""
    spaces: dict[Name, SpaceSettings] = Field(min_length=1)
    """Vector spaces by name."""
    targets: dict[Name, TargetSettings] = Field(min_length=1)
    """Deployments by name."""
    routes: dict[Name, RouteSettings] = Field(min_length=1)
    """Model names by name."""
    tenants: dict[Name, TenantSettings] = Field(min_length=1)
    """Tenants by name."""
    store: StoreSettings = StoreSettings()
    """The database of tenants, keys, quotas and the ledger."""
    authentication: AuthenticationSettings = AuthenticationSettings()
    """How keys of the store and tokens are held in memory, and whose tokens are taken."""

    @model_validator(mode="after")
    def _names_meet(self) -> "Settings":
        for name, target in self.targets.items():
            if target.space not in self.spaces:
                raise ValueError(f"targets.{name}.space: there is no space {target.space!r}")
        for name, route in self.routes.items():
            self._check_route(name, route)
        return self

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
        spaces = sorted({self.targets[target].space for target in route.targets})
        if len(spaces) > 1:
            raise ValueError(
                f"routes.{name}.targets: a route stays in one space, these lie in "
                + " and ".join(spaces)
            )
