"""Keys and admission."""

import pytest

from router.domain.errors import AuthenticationError, OverloadedError
from router.domain.keys import fingerprint, new_key
from router.domain.types import Caller, Target
from router.policy.admission import Room
from router.policy.keys import KeyRing

KEY = new_key()
RING = KeyRing({fingerprint(KEY): Caller("acme", "first")})


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
    assert RING.authenticate(header.encode()) == Caller("acme", "first")


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
        RING.authenticate(header)
    assert KEY[:8] not in str(caught.value)


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
