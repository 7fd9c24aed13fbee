"""Tenants, and the keys that they present."""

from embedway_operator.draft import Draft, Fragment, Place, Verdict, mistakes_in
from embedway_operator.draft_targets import secret_path, secret_value
from embedway_operator.secret_files import refreshed
from embedway_operator.specs import own, taken
from router.config.load import MIN_KEY_LENGTH
from router.config.resources import TENANT
from router.config.settings import TenantSettings
from router.domain.keys import fingerprint


def draft_tenants(draft: Draft) -> None:
    """Take every tenant; a key whose Secret is missing is left out until it is there."""
    owners: dict[str, str] = {}
    for resource in draft.observed.of_kind("EmbeddingTenant"):
        if resource.is_deleted:
            continue
        verdict = draft.begin(resource, "tenants", resource.name)
        keys = [
            key
            for wish in own(TENANT, resource.spec).get("keys") or []
            if (key := _key(draft, verdict, wish, owners)) is not None
        ]
        fragment = {**taken(TENANT, resource.spec), "keys": keys}
        if problem := mistakes_in(TenantSettings, fragment):
            verdict.refuse("Invalid", problem)
        if verdict.accepted:
            draft.take(verdict, fragment)
        elif verdict.reason != "NameTaken":
            draft.put(verdict, refreshed(draft.before(verdict), fragment), Place.KEPT)


def _key(draft: Draft, verdict: Verdict, wish: Fragment, owners: dict[str, str]) -> Fragment | None:
    """A key of the file; None where its Secret has no key in it, or somebody has it already."""
    reference = wish.get("secret")
    fragment = {name: value for name, value in wish.items() if name != "secret"}
    name = str(wish.get("name"))
    if reference is None:
        digest = wish.get("sha256")
    else:
        value = secret_value(draft, verdict, reference)
        if value is None:
            return None
        text = value.decode(errors="replace").strip()
        if len(text) < MIN_KEY_LENGTH:
            verdict.unresolved.append(
                f"Secret {reference['name']}: a key has at least {MIN_KEY_LENGTH} characters"
            )
            return None
        digest = fingerprint(text)
        fragment["file"] = secret_path(draft, reference, value)
    if digest in owners:
        verdict.unresolved.append(f"key {name} is the same as {owners[digest]}")
        return None
    if digest is not None:
        owners[digest] = f"key {name} of {verdict.resource.name}"
    return fragment
