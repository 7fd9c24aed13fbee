"""Keys and admission."""

import hashlib

import pytest

from router.domain.errors import (
    AuthenticationError,
    OverloadedError,
    ScopeError,
)
from router.domain.keys import fingerprint, new_key
from router.domain.types import Caller, KnownKey, Scope, Target
from router.policy.admission import Room
from router.policy.keys import KeyRing, require_scope, shown_secret, usable, wrong_key

KEY = new_key()
CALLER = Caller("acme", "first")
RING = KeyRing({fingerprint(KEY): KnownKey(CALLER)}, {"acme": True})


def caller_of(header: bytes | None) -> Caller:
    """The way of a key that the configuration file declares."""
    key = RING.known(hashlib.sha256(shown_secret(header)).digest())
    if key is None:
        raise wrong_key()
    return usable(key, now_s=0)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(f"Bearer {KEY}", id="as documented"),
        pytest.param(f"bearer {KEY}", id="scheme in any case"),
        pytest.param(f"Bearer  {KEY} ", id="blanks around"),
    ],
)
def test_a_known_key_names_its_caller(header: str) -> None:
    """The tenant and the key's name come back, never the key."""
    assert caller_of(header.encode()) == CALLER


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        pytest.param(None, "didn't provide", id="none"),
        pytest.param(b"", "didn't provide", id="empty"),
        pytest.param(b"Bearer", "didn't provide", id="no key"),
        pytest.param(b"Bearer  ", "didn't provide", id="blank key"),
        pytest.param(b"Basic " + KEY.encode(), "didn't provide", id="another scheme"),
        pytest.param(b"Bearer " + KEY[:-1].encode(), "Incorrect", id="cut"),
        pytest.param(b"Bearer " + KEY.swapcase().encode(), "Incorrect", id="case"),
        pytest.param(b"Bearer \xff\xfe", "Incorrect", id="bytes"),
        pytest.param(b"Bearer " + fingerprint(KEY).encode(), "Incorrect", id="its hash"),
    ],
)
def test_anything_else_is_refused_without_the_key_in_the_message(
    header: bytes | None, sentence: str
) -> None:
    """What was shown does not come back in the error."""
    with pytest.raises(AuthenticationError, match=sentence) as caught:
        caller_of(header)
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        pytest.param(KnownKey(CALLER, is_disabled=True), "is disabled", id="disabled"),
        pytest.param(KnownKey(CALLER, expires_s=100.0), "has expired", id="expired"),
    ],
)
def test_a_key_that_holds_no_more_says_why(key: KnownKey, sentence: str) -> None:
    """Only who holds the key reads the reason; up to its last moment a key is good."""
    assert usable(KnownKey(CALLER, expires_s=100.5), now_s=100.0) == CALLER
    with pytest.raises(AuthenticationError, match=sentence):
        usable(key, now_s=100.0)


def test_a_key_without_the_scope_is_refused_with_what_is_missing() -> None:
    """One of the scopes that are asked for is enough, and none of them holds another."""
    admin = Caller("acme", "boss", frozenset({Scope.ADMIN}))
    require_scope(admin, Scope.USAGE, Scope.ADMIN)
    with pytest.raises(ScopeError, match="Missing scope: embed; the key has: admin"):
        require_scope(admin, Scope.EMBED)


def room(requests: int = 2, tokens: int = 100) -> Room:
    return Room(Target("t", "s", max_in_flight_requests=requests, max_in_flight_tokens=tokens))


def test_room_is_bounded_by_requests() -> None:
    """The request that would be one too many is refused, and let in once another has left."""
    place = room(requests=2)
    place.enter(1)
    place.enter(1)
    with pytest.raises(OverloadedError):
        place.enter(1)
    place.leave(1)
    place.enter(1)


def test_room_is_bounded_by_tokens() -> None:
    """The sum of tokens under way never passes the bound."""
    place = room(requests=10, tokens=100)
    place.enter(60)
    place.enter(40)
    with pytest.raises(OverloadedError):
        place.enter(1)
    place.leave(60)
    place.enter(60)


def test_a_lone_request_larger_than_the_room_is_let_in() -> None:
    """Otherwise it could never be served."""
    place = room(tokens=100)
    place.enter(1000)
    with pytest.raises(OverloadedError):
        place.enter(1)
