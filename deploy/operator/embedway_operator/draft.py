"""The configuration while it is put together, and what is to be said of each resource."""

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import ValidationError

from embedway_operator.documents import mapping_of
from embedway_operator.move import Move
from embedway_operator.names import BASE_KEY, CONFIG_KEY, ORIGINS_KEY, PINS_KEY
from embedway_operator.observed import Observed, Resource
from embedway_operator.pins import Pins
from router.config.load import mistakes_of
from router.config.section import Section

SECTIONS = ("spaces", "targets", "routes", "tenants")
Fragment = dict[str, Any]


class Place(Enum):
    """What the configuration holds of a resource."""

    CURRENT = "current"
    KEPT = "kept"
    OUT = "out"


@dataclass(slots=True)
class Verdict:
    """What is to be said of a resource, and where it stands in the file."""

    resource: Resource
    section: str
    key: str
    accepted: bool = True
    reason: str = "Accepted"
    message: str = "it is part of the configuration"
    unresolved: list[str] = field(default_factory=list)
    place: Place = Place.OUT
    targets: list[str] = field(default_factory=list)

    def refuse(self, reason: str, message: str) -> None:
        """It is not taken; the first reason stands."""
        if self.accepted:
            self.accepted, self.reason, self.message = False, reason, message


class Draft:
    """Sections of the file by name, filled one after another: what refers comes after."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.base_problem: str | None = None
        self.base = self._read_base()
        data = (observed.config or {}).get("data") or {}
        self.previous_text: str | None = data.get(CONFIG_KEY)
        self.previous = mapping_of(self.previous_text) or {}
        self.origins_before: dict[str, str] = json.loads(data.get(ORIGINS_KEY) or "{}")
        self.pins_noted = mapping_of(data.get(PINS_KEY)) or {}
        self.pins: Pins = {}
        self.origins: dict[str, str] = {}
        self.sections: dict[str, dict[str, Fragment]] = {name: {} for name in SECTIONS}
        self.verdicts: list[Verdict] = []
        self.moves: list[Move] = []
        # Values of Secrets by the file that routers find them in.
        self.values: dict[str, bytes] = {}

    def begin(self, resource: Resource, section: str, key: str) -> Verdict:
        """A verdict that is still open."""
        verdict = Verdict(resource, section, key)
        self.verdicts.append(verdict)
        if key in (self.base.get(section) or {}):
            verdict.refuse("NameTaken", f"the chart's values have {section}.{key} already")
        elif key in self.sections[section]:
            verdict.refuse("NameTaken", f"an older resource is {section}.{key} already")
        return verdict

    def before(self, verdict: Verdict) -> Fragment | None:
        """What the configuration held of this very resource until now."""
        fragment = self.fragment_before(verdict.section, verdict.key)
        origin = self.origins_before.get(f"{verdict.section}/{verdict.key}")
        return fragment if origin in {None, verdict.resource.uid} else None

    def fragment_before(self, section: str, key: str) -> Fragment | None:
        """What the configuration held under a name until now, whoever it was of."""
        if key in (self.base.get(section) or {}):
            return None
        fragment = (self.previous.get(section) or {}).get(key)
        return dict(fragment) if isinstance(fragment, dict) else None

    def take(self, verdict: Verdict, fragment: Fragment) -> None:
        """Put a resource's present wish into the file."""
        self.put(verdict, fragment, Place.CURRENT)

    def put(self, verdict: Verdict, fragment: Fragment | None, place: Place) -> None:
        """Set, or take out, what the file holds of a resource."""
        verdict.place = Place.OUT if fragment is None else place
        name = f"{verdict.section}/{verdict.key}"
        if fragment is None:
            self.sections[verdict.section].pop(verdict.key, None)
            self.origins.pop(name, None)
        else:
            self.sections[verdict.section][verdict.key] = fragment
            self.origins[name] = verdict.resource.uid

    def whole(self) -> dict[str, Any]:
        """The file as it stands, without its number."""
        merged = {name: value for name, value in self.base.items() if name != "generation"}
        for name in SECTIONS:
            merged[name] = {**(self.base.get(name) or {}), **self.sections[name]}
        return merged

    def _read_base(self) -> dict[str, Any]:
        text = ((self.observed.base or {}).get("data") or {}).get(BASE_KEY)
        if text is None:
            self.base_problem = (
                f"ConfigMap {self.observed.installation.base} with {BASE_KEY} is missing"
            )
        found = mapping_of(text)
        if found is None:
            self.base_problem = f"ConfigMap {self.observed.installation.base} holds no mapping"
        return found or {}


def mistakes_in(model: type[Section], fragment: Fragment) -> str | None:
    """What is wrong with a part of the file by itself; None where nothing is."""
    try:
        model.model_validate(fragment)
    except ValidationError as error:
        return mistakes_of(error)
    return None
