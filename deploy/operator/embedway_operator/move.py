"""A migration of tenants from one space to another, as far as it has come."""

from dataclasses import dataclass, field
from typing import Any

from embedway_operator.observed import Resource
from router.config.resources import PHASES, ROLLED_BACK


@dataclass(slots=True)
class Move:
    """What a VectorSpaceMigration wishes, and what of it is so.

    `asked` is the name that clients ask for, `answering` the route that those get who have moved;
    both empty while they are not known. `figures` are what was measured, under the status' names;
    `failure` says why nothing could be, `stuck` what the measurement's pod waits for. `waits_for`
    is what the next phase waits for.
    """

    resource: Resource
    wish: dict[str, Any]
    asked: str = ""
    answering: str = ""
    spaces: tuple[str, str] = ("", "")
    accepted: bool = True
    reason: str = "Accepted"
    message: str = "its way is possible"
    unresolved: list[str] = field(default_factory=list)
    phase: str = PHASES[0]
    waits_for: str = ""
    measurement: str = ""
    figures: dict[str, Any] | None = None
    failure: str | None = None
    stuck: str | None = None
    listed: list[str] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)

    def refuse(self, reason: str, message: str) -> None:
        """It is not taken; the first reason stands."""
        if self.accepted:
            self.accepted, self.reason, self.message = False, reason, message

    @property
    def wished(self) -> str:
        """The phase that a person asks for."""
        return str(self.wish.get("phase") or PHASES[0])

    @property
    def is_rolled_back(self) -> bool:
        """Whether a person wants everything back as it was, and there is a way back."""
        return self.wished == ROLLED_BACK and self.came_to != place_of(PHASES[-1])

    @property
    def came_back(self) -> bool:
        """Whether its rollback was over before now."""
        return str(self.resource.status.get("phase")) == ROLLED_BACK

    @property
    def came_to(self) -> int:
        """Place among the phases that it had come to before now."""
        return place_of(str(self.resource.status.get("phase")))

    @property
    def is_measured(self) -> bool:
        """Whether the new space finds as much of what the old one finds as is asked."""
        least = float(self.wish["measurement"].get("min_overlap", 0.8))
        return self.figures is not None and float(self.figures["recall"]) >= least


def place_of(phase: str) -> int:
    """A phase's place, 0 for one that is none."""
    return PHASES.index(phase) if phase in PHASES else 0
