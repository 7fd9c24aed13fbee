"""Pins of tenants as they are noted: beside the routers' file, and in the status of each tenant.

The note beside the file stays when a tenant goes: one that comes back under its name has the index
that it had. Where the whole ConfigMap is lost, statuses tell of every tenant that is there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from embedway_operator.observed import Resource


@dataclass(frozen=True, slots=True)
class Pin:
    """Where a name leads, and the migration that has put it; empty where that is not noted."""

    route: str
    migration: str = ""


# By tenant, and then by the name that is asked for.
Pins = dict[str, dict[str, Pin]]


def note_of(pins: Pins) -> str:
    """What is written of pins beside the file."""
    noted = {
        tenant: {asked: asdict(one) for asked, one in its.items()}
        for tenant, its in pins.items()
        if its
    }
    return json.dumps(noted, sort_keys=True)


def noted_in(note: Mapping[str, Any]) -> Pins:
    """What such a note says; what cannot be read is left out."""
    return {
        tenant: {
            asked: Pin(one["route"], str(one.get("migration", "")))
            for asked, one in its.items()
            if isinstance(one, dict) and isinstance(one.get("route"), str)
        }
        for tenant, its in note.items()
        if isinstance(its, dict)
    }


def told_of(its: Mapping[str, Pin]) -> list[dict[str, str]]:
    """What a tenant's status says of its pins."""
    return [{"model": asked, **asdict(one)} for asked, one in sorted(its.items())]


def told_by(resources: Sequence[Resource]) -> Pins:
    """What statuses say: a tenant's of itself, a migration's of tenants that are no resource."""
    found: Pins = {}
    for resource in resources:
        for tenant, asked, pin in _told_by_one(resource):
            found.setdefault(tenant, {}).setdefault(asked, pin)
    return found


def _told_by_one(resource: Resource) -> Iterator[tuple[str, str, Pin]]:
    status = resource.status
    if resource.kind == "EmbeddingTenant":
        for one in status.get("pins") or []:
            yield resource.name, one["model"], Pin(one["route"], one.get("migration", ""))
    elif resource.kind == "VectorSpaceMigration" and {"fromName", "toName"} <= status.keys():
        for tenant in status.get("pinnedTenants") or []:
            yield tenant, status["fromName"], Pin(status["toName"], resource.name)
