"""Whose pins are whose. The file says where a pin leads, and the note beside it who has put it.

Only that migration takes it back, or another one of the same way once that one is gone.
"""

from collections.abc import Collection, Iterable, Mapping

from embedway_operator.draft import Draft
from embedway_operator.move import Move
from embedway_operator.pins import Pin, Pins, noted_in, told_by
from router.config.resources import PHASES


def pins_before(draft: Draft) -> Pins:
    """Pins until now: of the file, and noted of tenants that it does not have at the moment."""
    if draft.previous_text is None:
        return told_by(draft.observed.of_kind("EmbeddingTenant", "VectorSpaceMigration"))
    noted = noted_in(draft.pins_noted)
    found = {**noted}
    for name, one in (draft.previous.get("tenants") or {}).items():
        routes = (one.get("pins") or {}).items()
        found[name] = {asked: _noted(noted, name, asked, route) for asked, route in routes}
    return found


def _noted(noted: Pins, tenant: str, asked: str, route: str) -> Pin:
    """The pin of the file, with who has put it, where the note speaks of the same one."""
    one = noted.get(tenant, {}).get(asked)
    return one if one is not None and one.route == route else Pin(route)


class Pinning:
    """Puts pins, and takes them back, for one migration after another."""

    def __init__(self, pins: Pins, migrations: Iterable[str]) -> None:
        """`pins` are changed in place; `migrations` are the names of all that there are."""
        self._pins = pins
        self._migrations = frozenset(migrations)

    def pinned(self, move: Move) -> list[str]:
        """Tenants who have moved this way, unless another migration has moved them."""
        return self._put_by(move) if move.is_rolled_back else self._moved(move)

    def to_take_back(self, move: Move) -> list[str]:
        """Tenants whom a rollback sends back.

        It is over when its status says so: who moves this way later on has been moved by another.
        """
        return self._put_by(move) if move.came_back else self._moved(move)

    def take_back(self, move: Move) -> None:
        """Send everybody back."""
        for name in self.to_take_back(move):
            del self._pins[name][move.asked]

    def put(self, move: Move, listed: Collection[str], *, may_go: bool) -> None:
        """Move who is there and listed, if they may go; send back who is not listed any more."""
        for name, its in self._pins.items():
            if name not in listed:
                # A retired space is gone: nobody can be sent back there.
                if self._is_of(its, move) and move.phase != PHASES[-1]:
                    del its[move.asked]
            elif self._is_of(its, move) or (
                may_go and name in move.listed and move.asked not in its
            ):
                its[move.asked] = Pin(move.answering, move.resource.name)

    def _moved(self, move: Move) -> list[str]:
        return sorted(name for name, its in self._pins.items() if self._is_of(its, move))

    def _put_by(self, move: Move) -> list[str]:
        mine = Pin(move.answering, move.resource.name)
        return sorted(name for name, its in self._pins.items() if its.get(move.asked) == mine)

    def _is_of(self, its: Mapping[str, Pin], move: Move) -> bool:
        """Whether a tenant has moved this way, and no other migration that is there moved it."""
        if not leads(its, move):
            return False
        by = its[move.asked].migration
        return by == move.resource.name or by not in self._migrations


def leads(its: Mapping[str, Pin], move: Move) -> bool:
    """Whether one of a tenant's pins leads the way of a migration."""
    return bool(move.asked) and move.asked in its and its[move.asked].route == move.answering
