"""Vector spaces: they never change under vectors that were made in them."""

from embedway_operator.draft import Draft, Fragment, Place, Verdict, mistakes_in
from embedway_operator.keeping import kept_targets
from embedway_operator.names import target_name
from embedway_operator.specs import own, taken
from router.config.resources import SPACE
from router.config.settings import SpaceSettings


def draft_spaces(draft: Draft) -> None:
    """Take every space that is as it was, or that nothing has claimed yet."""
    observed = draft.observed
    for resource in observed.of_kind("VectorSpace"):
        verdict = draft.begin(resource, "spaces", resource.name)
        fragment = taken(SPACE, resource.spec)
        if problem := mistakes_in(SpaceSettings, fragment):
            verdict.refuse("Invalid", problem)
        before = draft.fragment_before("spaces", resource.name)
        changed = changed_identity(before, fragment) if _is_claimed(draft, resource.name) else []
        if changed:
            verdict.refuse(
                "VectorSpaceMismatch",
                f"{', '.join(changed)} differ from the space of that name that targets serve: a "
                "new space never replaces an old one in place, make one of another name",
            )
        if verdict.accepted:
            draft.take(verdict, fragment)
        elif verdict.reason != "NameTaken":
            draft.put(verdict, before, Place.KEPT)
    _keep_what_is_claimed(draft)


def changed_identity(before: Fragment | None, after: Fragment) -> list[str]:
    """Settings in which two spaces of one name differ, checks of targets aside."""
    if before is None:
        return []
    names = sorted((before.keys() | after.keys()) - {"verification"})
    empty = {"lowercase": False, "prompts": {}, "provider_input_types": {}}
    return [
        name
        for name in names
        if before.get(name, empty.get(name)) != after.get(name, empty.get(name))
    ]


def settle_references(draft: Draft) -> None:
    """Name each space's reference: the one that is wished, the one that was, or the oldest target.

    The file's own order would make the alphabet decide whose vectors define a space.
    """
    observed = draft.observed
    ages = {
        target_name(one.kind, one.name): one.age
        for one in observed.of_kind("EmbeddingModel", "EmbeddingProvider")
    }
    verdicts = {one.key: one for one in draft.verdicts if one.section == "spaces"}
    for name, fragment in draft.sections["spaces"].items():
        members = [key for key, one in draft.sections["targets"].items() if one["space"] == name]
        wished = _wished(draft, verdicts.get(name), members)
        before = (draft.fragment_before("spaces", name) or {}).get("verification") or {}
        standing = before.get("reference")
        oldest = min(members, key=lambda key: (ages.get(key, ("", "")), key), default=None)
        reference = wished or (standing if standing in members else oldest)
        checks = {**(fragment.get("verification") or {})}
        checks.pop("reference", None)
        if reference is not None:
            checks["reference"] = reference
        draft.sections["spaces"][name] = {**fragment, "verification": checks}


def _wished(draft: Draft, verdict: Verdict | None, members: list[str]) -> str | None:
    if verdict is None or not verdict.accepted:
        return None
    reference = own(SPACE, verdict.resource.spec).get("reference")
    if reference is None:
        return None
    name = target_name(reference["kind"], reference["name"])
    if name in members:
        return name
    verdict.unresolved.append(f"{reference['kind']} {reference['name']} is no target of this space")
    return None


def _claims(draft: Draft) -> set[str]:
    """Spaces that targets, in the file until now and still declared, or routes refer to."""
    claimed = {
        str(one.spec.get("space"))
        for one in draft.observed.of_kind("EmbeddingRoute")
        if not one.is_deleted
    }
    claimed |= {str(one["space"]) for one in kept_targets(draft).values()}
    for one in draft.observed.of_kind("EmbeddingModel", "EmbeddingProvider"):
        before = draft.fragment_before("targets", target_name(one.kind, one.name))
        if before is not None and not one.is_deleted:
            claimed |= {str(before["space"]), str(one.spec.get("space"))}
    return claimed


def _is_claimed(draft: Draft, name: str) -> bool:
    return name in _claims(draft)


def _keep_what_is_claimed(draft: Draft) -> None:
    """A space that was deleted, or lost, goes on until nothing refers to it any more."""
    for name in sorted(_claims(draft)):
        before = draft.fragment_before("spaces", name)
        if name not in draft.sections["spaces"] and before is not None:
            draft.sections["spaces"][name] = before
