"""What routers go on with although its resource is gone: tenants are pinned to it, or on their way.

Nothing in a cluster stops the deletion of a resource for good, so it is the deletion's effect that
is refused: the part stays in the file, as it was, until no tenant needs it.
"""

from collections.abc import Iterator

from embedway_operator.draft import Draft, Fragment, Place
from embedway_operator.observed import Resource
from router.config.resources import PHASES, ROLLED_BACK


def _pins(draft: Draft) -> dict[str, dict[str, str]]:
    """Pins of the file until now, by tenant."""
    tenants = draft.previous.get("tenants") or {}
    return {name: dict(one.get("pins") or {}) for name, one in tenants.items()}


def kept_routes(draft: Draft) -> set[str]:
    """Routes of the file until now that tenants or migrations need."""
    pins = _pins(draft)
    needed = {name for one in pins.values() for name in one.values()}
    for resource in draft.observed.of_kind("VectorSpaceMigration"):
        if not resource.is_deleted:
            needed.update(_names(resource, pins))
    return needed & (draft.previous.get("routes") or {}).keys()


def _names(resource: Resource, pins: dict[str, dict[str, str]]) -> Iterator[str]:
    """Both routes of a migration; of one that is over the old one, while somebody uses it."""
    status = resource.status
    asked, answering = str(status.get("fromName", "")), str(status.get("toName", ""))
    if resource.spec.get("phase") != ROLLED_BACK or status.get("phase") == PHASES[-1]:
        yield answering
    if status.get("phase") != PHASES[-1] or any(asked not in one for one in pins.values()):
        yield asked


def kept_targets(draft: Draft) -> dict[str, Fragment]:
    """Targets of those routes, as they were."""
    routes, targets = (draft.previous.get(name) or {} for name in ("routes", "targets"))
    names = {target for route in kept_routes(draft) for target in routes[route]["targets"]}
    # The chart's own are in its values, whatever resources do.
    own = draft.base.get("targets") or {}
    return {name: targets[name] for name in names if name in targets and name not in own}


def keep_targets(draft: Draft) -> None:
    """Put back what was deleted and is needed."""
    for name, fragment in sorted(kept_targets(draft).items()):
        if name not in draft.sections["targets"] and fragment["space"] in draft.whole()["spaces"]:
            _put_back(draft, "targets", name, fragment)


def keep_routes(draft: Draft) -> None:
    """Put back what was deleted and is needed, with those of its targets that are there."""
    for name in sorted(kept_routes(draft)):
        before = draft.fragment_before("routes", name)
        if name in draft.whole()["routes"] or before is None:
            continue
        targets, old = draft.whole()["targets"], draft.previous["targets"]
        left = [
            one for one in before["targets"]
            if one in targets and targets[one]["space"] == old[one]["space"]
        ]  # fmt: skip
        if left:
            rules = [
                rule for rule in before.get("rules") or []
                if set(rule.get("targets") or []) <= set(left)
            ]  # fmt: skip
            _put_back(draft, "routes", name, {**before, "targets": left, "rules": rules})


def _put_back(draft: Draft, section: str, name: str, fragment: Fragment) -> None:
    place = f"{section}/{name}"
    draft.sections[section][name] = fragment
    for verdict in draft.verdicts:
        # Its resource may be there and not be taken: then it is said to be served as it was.
        if (verdict.section, verdict.key) == (section, name):
            verdict.place = Place.KEPT
    if place in draft.origins_before:
        draft.origins[place] = draft.origins_before[place]
