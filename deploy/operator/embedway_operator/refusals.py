"""What the API server refused, and when it is asked again: later and later, for the same wish."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from embedway_operator.errors import ClusterError
from embedway_operator.writes import Apply, Delete, Emit, PatchStatus, Write
from router.domain.clock import Clock

FIRST_S = 2.0
LONGEST_S = 60.0
# Codes that say nothing of the object: it met another write, or too many.
_PASSING = frozenset({409, 429})


@dataclass(frozen=True, slots=True)
class _Refusal:
    wish: str
    sentence: str
    tries: int
    again_s: float
    is_told: bool


class Refusals:
    """The memory of one operator. An object is known by its kind and name, a wish by its hash."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], _Refusal] = {}

    def told(self) -> dict[tuple[str, str], str]:
        """The API server's sentences by kind and name of the object.

        What may pass by itself, an error of the server's or none at all, is told from its second
        time on.
        """
        return {place: one.sentence for place, one in self._known.items() if one.is_told}

    def holds(self, write: Write) -> bool:
        """Whether the same was refused, and its time has not come again."""
        known = self._known.get(place_of(write))
        return (
            known is not None
            and known.wish == _wish_of(write)
            and self._clock.monotonic_s() < known.again_s
        )

    def add(self, write: Write, error: ClusterError) -> None:
        """It was refused: each time in a row doubles the wait."""
        place, wish = place_of(write), _wish_of(write)
        known = self._known.get(place)
        tries = 1 if known is None or known.wish != wish else known.tries + 1
        wait_s = min(FIRST_S * 2.0 ** (tries - 1), LONGEST_S)
        is_final = 400 <= error.status < 500 and error.status not in _PASSING
        self._known[place] = _Refusal(
            wish, error.sentence or str(error), tries, self._clock.monotonic_s() + wait_s,
            is_final or tries > 1,
        )  # fmt: skip

    def forget(self, write: Write) -> None:
        """It was taken."""
        self._known.pop(place_of(write), None)

    def keep(self, writes: Sequence[Write]) -> None:
        """Forget what is not wished any more, or is there by now."""
        wanted = {place_of(one) for one in writes}
        self._known = {place: one for place, one in self._known.items() if place in wanted}

    def next_in_s(self) -> float:
        """Seconds until the first is asked for again; infinite where nothing was refused."""
        now_s = self._clock.monotonic_s()
        return min((one.again_s - now_s for one in self._known.values()), default=float("inf"))


def place_of(write: Write) -> tuple[str, str]:
    """Kind and name of what is written; a status is something of its own."""
    match write:
        case Delete(_, kind, name, _):
            return kind, name
        case PatchStatus(kind, name, _):
            return f"{kind}/status", name
        case Apply(body, _) | Emit(body):
            return str(body["kind"]), str(body["metadata"]["name"])


def _wish_of(write: Write) -> str:
    """Equal for what would be refused again for the same reason."""
    wish: object
    match write:
        case Apply(body, _):
            metadata = {**body["metadata"], "resourceVersion": None}
            wish = {**body, "metadata": metadata}
        case Delete(_, _, _, uid):
            wish = ["delete", uid]
        case PatchStatus(_, _, status):
            # Without its times, which are those of the try.
            conditions = status.get("conditions") or []
            wish = [[one["type"], one["status"], one["reason"]] for one in conditions]
        case Emit(_):
            # Its name is that of the transition.
            wish = None
    return hashlib.sha256(json.dumps(wish, sort_keys=True).encode()).hexdigest()[:16]
