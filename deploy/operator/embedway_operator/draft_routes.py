"""Routes: a name that clients ask for, and targets of one space behind it."""

from typing import Any

from embedway_operator.draft import Draft, Fragment, Place, Verdict, mistakes_in
from embedway_operator.names import target_name
from embedway_operator.specs import own, taken
from embedway_operator.standing import Standings
from router.config.resources import ROUTE
from router.config.settings import RouteSettings


def draft_routes(draft: Draft, standings: Standings) -> None:
    """Take every route of which all targets lie in its space, and one was found to."""
    for resource in draft.observed.of_kind("EmbeddingRoute"):
        if resource.is_deleted:
            continue
        wish = own(ROUTE, resource.spec)
        verdict = draft.begin(resource, "routes", wish.get("model_name") or resource.name)
        if verdict.reason != "NameTaken":
            _judge(draft, verdict, wish, standings)


def _judge(draft: Draft, verdict: Verdict, wish: Fragment, standings: Standings) -> None:
    targets, spaces = draft.whole()["targets"], draft.whole()["spaces"]
    if wish["space"] not in spaces:
        verdict.unresolved.append(f"VectorSpace {wish['space']}")
    for reference in wish["targets"]:
        name = target_name(reference["kind"], reference["name"])
        if name in targets:
            verdict.targets.append(name)
        else:
            verdict.unresolved.append(f"{reference['kind']} {reference['name']}")
    fragment = {
        **taken(ROUTE, verdict.resource.spec),
        "targets": list(verdict.targets),
        "rules": _rules(wish.get("rules") or [], verdict.targets),
    }
    _hold_to_one_space(draft, verdict, wish["space"], standings)
    if verdict.targets and (problem := mistakes_in(RouteSettings, fragment)):
        verdict.refuse("Invalid", problem)
    if not verdict.targets or wish["space"] not in spaces:
        return
    if verdict.accepted:
        draft.take(verdict, fragment)
    else:
        draft.put(verdict, _still_good(draft, verdict, targets), Place.KEPT)


def _hold_to_one_space(draft: Draft, verdict: Verdict, space: str, standings: Standings) -> None:
    targets = draft.whole()["targets"]
    foreign = [name for name in verdict.targets if targets[name]["space"] != space]
    if foreign:
        verdict.refuse(
            "VectorSpaceMismatch",
            f"the route stands for {space}; of another space: "
            + ", ".join(f"{name} ({targets[name]['space']})" for name in foreign),
        )
    wrong = [name for name in verdict.targets if standings.of(name) == "quarantined"]
    if wrong:
        verdict.refuse(
            "VectorSpaceMismatch",
            f"routers found vectors that are not of {space} at: {', '.join(wrong)}",
        )
    before = draft.fragment_before("routes", verdict.key)
    space_before = _space_of(draft, before)
    if space_before not in {None, space}:
        verdict.refuse(
            "VectorSpaceMismatch",
            f"{verdict.key} stands for {space_before}: a new space never replaces an old one in "
            "place; make a route of another name, or delete this one first",
        )
    proven = any(standings.of(name) in {"verified", "untold"} for name in verdict.targets)
    if verdict.targets and before is None and not proven:
        verdict.refuse(
            "VectorSpaceUnverified",
            f"no router has found vectors of {space} yet at: {', '.join(verdict.targets)}",
        )


def _space_of(draft: Draft, route: Fragment | None) -> str | None:
    """The space that a route of the file until now stands for."""
    before = draft.previous.get("targets") or {}
    names = (route or {}).get("targets") or []
    return next((str(before[name]["space"]) for name in names if name in before), None)


def _still_good(
    draft: Draft, verdict: Verdict, targets: dict[str, Fragment]
) -> dict[str, Any] | None:
    """The route as it was, with those of its targets that are still there, in its own space."""
    before = draft.before(verdict)
    if before is None:
        return None
    space = _space_of(draft, before)
    left = [
        name for name in before["targets"] if name in targets and targets[name]["space"] == space
    ]
    if not left:
        return None
    return {**before, "targets": left, "rules": _kept_rules(before.get("rules") or [], left)}


def _rules(rules: list[Fragment], targets: list[str]) -> list[Fragment]:
    named = [
        {**rule, "targets": [target_name(one["kind"], one["name"]) for one in rule["targets"]]}
        if rule.get("targets")
        else rule
        for rule in rules
    ]
    return _kept_rules(named, targets)


def _kept_rules(rules: list[Fragment], targets: list[str]) -> list[Fragment]:
    """Rules with the targets that are there; one that would have none left is no rule."""
    kept = []
    for rule in rules:
        if not rule.get("targets"):
            kept.append(rule)
        elif left := [name for name in rule["targets"] if name in targets]:
            kept.append({**rule, "targets": left})
    return kept
