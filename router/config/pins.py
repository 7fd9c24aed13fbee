"""A tenant's pins: for a name that its clients ask for, the route that answers instead."""

from collections.abc import Mapping


def followed(pins: Mapping[str, str]) -> dict[str, str]:
    """Each name with the route at the end of its way; ValueError where the way is a circle.

    One migration follows another, and then a pin leads to a name that is pinned itself.
    """
    found = {}
    for name in pins:
        route, seen = name, {name}
        while route in pins:
            route = pins[route]
            if route in seen:
                raise ValueError(f"pins.{name}: goes round in a circle at {route!r}")
            seen.add(route)
        found[name] = route
    return found
