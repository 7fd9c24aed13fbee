"""How keys and tokens are held in memory, and whose tokens are taken."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from router.config.section import Name, Section
from router.domain.types import Scope

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"
]


def is_safe_url(url: str) -> bool:
    """Whether nobody between us and the address can change what it says: TLS, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    )


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
