"""From a provider's token to a caller: signature, issuer, audience, time, and what claims mean.

Source: RFC 7519 (JSON Web Token); RFC 8725 (best current practice): the algorithm is ours to
choose, the issuer finds the key, and a token is meant for an audience.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, JoseError
from joserfc.jwk import Key

from router.config.authentication import IssuerSettings
from router.config.section import NAME
from router.domain.clock import Clock
from router.domain.errors import AuthenticationError
from router.domain.types import Caller, KnownKey, Scope
from router.identity.jwks import Fetch, KeySource

_MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class _Issuer:
    settings: IssuerSettings
    source: KeySource


class OidcVerifier:
    """Checks tokens of the configured providers."""

    def __init__(self, issuers: Mapping[str, IssuerSettings], fetch: Fetch, clock: Clock) -> None:
        """Take providers by name; `fetch` gives the body behind an address, or FetchError."""
        self._issuers = {
            issuer.issuer: _Issuer(issuer, KeySource(issuer, fetch, clock))
            for issuer in issuers.values()
        }
        self._clock = clock

    @property
    def is_configured(self) -> bool:
        """Whether any token could be good."""
        return bool(self._issuers)

    async def verify(self, token: bytes) -> KnownKey:
        """The token's bearer; AuthenticationError says what is wrong, KeysUnavailableError."""
        header, unproven = _unproven(token)
        issuer = self._issuers.get(str(unproven.get("iss")))
        if issuer is None:
            raise AuthenticationError("The token's issuer is not one of those that are taken here.")
        if header.get("alg") not in issuer.settings.algorithms:
            raise AuthenticationError("The token is signed with an algorithm that is not taken.")
        key_id = header.get("kid")
        key = await issuer.source.key(key_id if isinstance(key_id, str) else None)
        claims = self._proven(token, key, issuer.settings)
        return _bearer(claims, issuer.settings)

    async def close(self) -> None:
        """Give up what is being fetched."""
        for issuer in self._issuers.values():
            await issuer.source.close()

    def _proven(self, token: bytes, key: Key, issuer: IssuerSettings) -> dict[str, Any]:
        rules = jwt.JWTClaimsRegistry(
            now=lambda: int(self._clock.wall_s()),
            leeway=int(issuer.leeway_s),
            iss={"essential": True, "value": issuer.issuer},
            aud={"essential": True, "values": list(issuer.audience)},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(token, key, registry=_registry(issuer)).claims
            rules.validate(claims)
        except ExpiredTokenError as error:
            raise AuthenticationError("The token has expired.") from error
        except BadSignatureError as error:
            raise AuthenticationError("The token's signature is not valid.") from error
        except (JoseError, ValueError, TypeError) as error:
            raise AuthenticationError("The token is not valid here.") from error
        return claims


def _registry(issuer: IssuerSettings) -> jws.JWSRegistry:
    # Providers put more into headers than the standard names; what is critical is still checked.
    return jws.JWSRegistry(algorithms=list(issuer.algorithms), strict_check_header=False)


def _unproven(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims before anything is proven: good for finding the key, and nothing else."""
    try:
        parts = jws.extract_compact(token)
        claims = json.loads(parts.payload or b"")
    except (JoseError, ValueError, RecursionError) as error:
        raise AuthenticationError("The token could not be read.") from error
    if not isinstance(claims, dict):
        raise AuthenticationError("The token could not be read.")
    return dict(parts.headers()), claims


def _bearer(claims: dict[str, Any], issuer: IssuerSettings) -> KnownKey:
    value = _claim(claims, issuer.tenant_claim)
    tenant = issuer.tenants.get(value) if issuer.tenants and isinstance(value, str) else value
    if not isinstance(tenant, str) or not re.fullmatch(NAME, tenant):
        raise AuthenticationError("The token names no tenant that is known here.")
    name = _claim(claims, issuer.name_claim)
    return KnownKey(
        caller=Caller(
            tenant=tenant,
            key_name=_printable(name) if isinstance(name, str) and name else "token",
            scopes=_scopes(_claim(claims, issuer.scope_claim), issuer),
        ),
        expires_s=float(claims["exp"]) + issuer.leeway_s,
    )


def _printable(name: str) -> str:
    """The name as logs and the ledger can hold it."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:_MAX_NAME])


def _claim(claims: dict[str, Any], path: str) -> object:
    """The claim at a dotted path; a claim whose own name has dots, as URLs have, is found first."""
    if path in claims:
        return claims[path]
    place: object = claims
    for part in path.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


def _scopes(value: object, issuer: IssuerSettings) -> frozenset[Scope]:
    words = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(
        scope for word in words if isinstance(word, str) for scope in issuer.scopes.get(word, ())
    )
