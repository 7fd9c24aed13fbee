"""Tokens of a provider: what is taken, what is not, and how often the provider is asked."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from router.config.authentication import IssuerSettings
from router.domain.errors import AuthenticationError, KeysUnavailableError
from router.domain.types import Caller, Scope
from router.identity import jwks
from router.identity.fetch import fetch
from router.identity.oidc import OidcVerifier
from tests.support.keys import HandClock
from tests.support.provider import EC, Provider, signed_with_public_key, signing_key


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def settings(provider: Provider, **changes: Any) -> IssuerSettings:
    return IssuerSettings.model_validate(
        {"issuer": provider.issuer, "audience": ["embedway", "other"]} | changes
    )


@pytest.fixture
async def verifier(provider: Provider, clock: HandClock) -> AsyncIterator[OidcVerifier]:
    made = OidcVerifier({"ours": settings(provider)}, fetch, clock)
    yield made
    await made.close()


async def test_a_good_token_names_its_caller(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """Tenant, name and scopes come from claims; its end is the token's, and some leeway."""
    known = await verifier.verify(provider.token(clock.now_s))
    assert known.caller == Caller("acme", "service-7", frozenset({Scope.EMBED}))
    assert known.expires_s == int(clock.now_s) + 600 + 30
    assert provider.requests == ["/realm/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({"sub": "system:serviceaccount:a"}, "system:serviceaccount:a", id="as it is"),
        pytest.param({"sub": "a\0\nb"}, "a??b", id="unprintable"),
        pytest.param({"sub": "a" * 200}, "a" * 128, id="long"),
        pytest.param({"sub": None}, "token", id="missing"),
        pytest.param({"sub": ""}, "token", id="empty"),
    ],
)
async def test_the_bearer_has_a_name_that_logs_and_ledger_can_hold(
    provider: Provider, clock: HandClock, verifier: OidcVerifier, changes: dict[str, Any], name: str
) -> None:
    """Whatever the provider calls it."""
    known = await verifier.verify(provider.token(clock.now_s, **changes))
    assert known.caller.key_name == name


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"exp": 1000}, "has expired", id="expired"),
        pytest.param({"exp": None}, "not valid", id="without an end"),
        pytest.param({"exp": "tomorrow"}, "not valid", id="an end that is no time"),
        pytest.param({"nbf": 4_000_000_000}, "not valid", id="not yet"),
        pytest.param({"iat": 4_000_000_000}, "not valid", id="from the future"),
        pytest.param({"aud": "somebody"}, "not valid", id="meant for another"),
        pytest.param({"aud": None}, "not valid", id="meant for nobody"),
        pytest.param({"aud": []}, "not valid", id="an empty audience"),
        pytest.param({"iss": "https://evil.example"}, "issuer", id="another issuer"),
        pytest.param({"iss": None}, "issuer", id="no issuer"),
        pytest.param({"tenant": None}, "no tenant", id="no tenant"),
        pytest.param({"tenant": ""}, "no tenant", id="an empty tenant"),
        pytest.param({"tenant": ["acme"]}, "no tenant", id="a list of tenants"),
        pytest.param({"tenant": "a" * 129}, "no tenant", id="a long tenant"),
        pytest.param({"tenant": "a\0b"}, "no tenant", id="a tenant that is no name"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(
    provider: Provider,
    clock: HandClock,
    verifier: OidcVerifier,
    changes: dict[str, Any],
    sentence: str,
) -> None:
    """However well it is signed."""
    with pytest.raises(AuthenticationError, match=sentence):
        await verifier.verify(provider.token(clock.now_s, **changes))


async def test_a_token_signed_by_another_is_refused(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """A key of the same id is not the same key."""
    stranger = signing_key("first")
    with pytest.raises(AuthenticationError, match="signature"):
        await verifier.verify(provider.token(clock.now_s, key=stranger))


async def test_a_changed_token_is_refused(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """Its signature is of other claims."""
    header, _, signature = provider.token(clock.now_s).split(b".")
    claims = json.dumps(provider.claims(clock.now_s, tenant="rival")).encode()
    forged = b".".join([header, base64.urlsafe_b64encode(claims).rstrip(b"="), signature])
    with pytest.raises(AuthenticationError, match="signature"):
        await verifier.verify(forged)


async def test_the_algorithm_is_ours_to_choose(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """Neither no signature, nor one with the public key as a secret, nor one that is not listed."""
    key = provider.keys["first"]
    claims = base64.urlsafe_b64encode(json.dumps(provider.claims(clock.now_s)).encode())
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"first"}')
    unsigned = header.rstrip(b"=") + b"." + claims.rstrip(b"=") + b"."
    confused = signed_with_public_key(key, provider.claims(clock.now_s))
    unlisted = provider.token(clock.now_s, key=provider.rotate("ec", EC), algorithm=EC)
    for token in (unsigned, confused, unlisted):
        with pytest.raises(AuthenticationError, match="algorithm"):
            await verifier.verify(token)


@pytest.mark.parametrize(
    "token",
    [
        b"eyJ.eyJ.x",
        b"eyJhbGciOiJSUzI1NiJ9.W10.x",
        b"eyJ" + b"a" * 5000 + b".b.c",
        b"eyJ\xff.\xff.",
    ],
)
async def test_what_is_no_token_is_refused(verifier: OidcVerifier, token: bytes) -> None:
    """Before anybody is asked."""
    with pytest.raises(AuthenticationError):
        await verifier.verify(token)


async def test_keys_are_fetched_once_and_turn_with_the_provider(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """A token with a new key id causes one fetch; the key that was withdrawn is obeyed no more."""
    old = provider.token(clock.now_s)
    for _ in range(3):
        await verifier.verify(old)
    assert provider.fetches == 1
    provider.rotate("second")
    clock.now_s += jwks.REFRESH_PAUSE_S
    new = [provider.token(clock.now_s, sub=f"s-{number}") for number in range(20)]
    await asyncio.gather(*map(verifier.verify, new))
    assert provider.fetches == 2
    with pytest.raises(AuthenticationError, match="not one that its issuer publishes"):
        await verifier.verify(old)


async def test_made_up_key_ids_cause_no_flood(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """One fetch in a pause, however many strangers come."""
    await verifier.verify(provider.token(clock.now_s))
    for number in range(50):
        key = signing_key(f"made-up-{number}", EC)
        token = provider.token(clock.now_s, key=key, algorithm=EC)
        with pytest.raises(AuthenticationError):
            await verifier.verify(token)
    made_up = provider.token(clock.now_s, key=signing_key("made-up"))
    for _ in range(20):
        with pytest.raises(AuthenticationError):
            await verifier.verify(made_up)
    assert provider.fetches == 1
    clock.now_s += jwks.REFRESH_PAUSE_S
    for _ in range(20):
        with pytest.raises(AuthenticationError):
            await verifier.verify(made_up)
    assert provider.fetches == 2


async def test_a_provider_that_is_down_makes_nobody_wrong(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """Known keys go on for a day; for an unknown one nobody can say, which is not a 401."""
    provider.is_down = True
    token = provider.token(clock.now_s)
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(token)
    provider.is_down = False
    clock.now_s += jwks.RETRY_PAUSE_S
    await verifier.verify(token)
    provider.is_down = True
    clock.now_s += jwks.REFRESH_PAUSE_S
    stranger = provider.token(clock.now_s, key=signing_key("unknown"))
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(stranger)
    clock.now_s += jwks.MAX_AGE_S - 60
    await verifier.verify(provider.token(clock.now_s))
    clock.now_s += 120
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(provider.token(clock.now_s))


@pytest.mark.parametrize("body", [b"[]", b"{}", b"no", b'{"keys": [{"kty": "RSA"}]}', b"\xff"])
async def test_a_key_document_that_is_none_is_a_provider_that_is_down(
    provider: Provider, clock: HandClock, verifier: OidcVerifier, body: bytes
) -> None:
    """Whatever stands there, nobody's token is called wrong for it."""
    provider.jwks_body = body
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(provider.token(clock.now_s))


async def test_keys_are_refreshed_in_the_background(
    provider: Provider, clock: HandClock, verifier: OidcVerifier
) -> None:
    """The request that finds them old does not wait for the new ones."""
    token = provider.token(clock.now_s, exp=int(clock.now_s) + 10_000)
    await verifier.verify(token)
    clock.now_s += jwks.REFRESH_AFTER_S
    await verifier.verify(token)
    for _ in range(3000):
        if provider.fetches == 2:
            break
        await asyncio.sleep(0.01)
    assert provider.fetches == 2


async def test_claims_are_mapped_as_the_configuration_says(
    provider: Provider, clock: HandClock
) -> None:
    """Tenants by a nested claim's value, scopes from a list, another algorithm, a fixed address."""
    provider.rotate("ec", EC)
    chosen = settings(
        provider,
        jwks_url=provider.issuer.replace("/realm", "/keys"),
        algorithms=["ES256"],
        tenant_claim="https://acme.example/org.id",
        tenants={"42": "acme"},
        scope_claim="realm_access.roles",
        scopes={"searcher": ["embed"], "boss": ["admin", "usage"]},
        name_claim="client_id",
    )
    verifier = OidcVerifier({"ours": chosen}, fetch, clock)
    token = provider.token(
        clock.now_s,
        algorithm=EC,
        **{
            "https://acme.example/org.id": "42",
            "realm_access": {"roles": ["searcher", "boss", "unknown", 7]},
            "client_id": "batch-job",
        },
    )
    known = await verifier.verify(token)
    scopes = frozenset({Scope.EMBED, Scope.ADMIN, Scope.USAGE})
    assert known.caller == Caller("acme", "batch-job", scopes)
    assert provider.requests == ["/keys"]
    with pytest.raises(AuthenticationError, match="no tenant"):
        await verifier.verify(
            provider.token(clock.now_s, algorithm=EC, **{"https://acme.example/org.id": "43"})
        )
    await verifier.close()
