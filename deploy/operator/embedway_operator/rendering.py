"""The routers' configuration, whole, valid and numbered; what would make it invalid is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from embedway_operator.draft import SECTIONS, Draft, Fragment, Place, Verdict
from embedway_operator.draft_moves import draft_moves
from embedway_operator.draft_routes import draft_routes
from embedway_operator.draft_spaces import draft_spaces, settle_references
from embedway_operator.draft_targets import draft_targets
from embedway_operator.draft_tenants import draft_tenants
from embedway_operator.keeping import keep_routes, keep_targets
from embedway_operator.observed import Observed
from embedway_operator.secret_files import refreshed
from embedway_operator.standing import Standings
from router.config.domain_of import quotas_of
from router.config.load import mistakes_of
from router.config.settings import Settings
from router.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Rendered:
    """The file's text, None where there can be none and `problem` says why."""

    draft: Draft
    text: str | None
    generation: int
    problem: str | None = None


def render(observed: Observed) -> Rendered:
    """The configuration that resources and the chart's values make together."""
    draft = Draft(observed)
    draft_spaces(draft)
    draft_targets(draft)
    keep_targets(draft)
    draft_routes(draft, Standings(observed.routers))
    keep_routes(draft)
    draft_tenants(draft)
    draft_moves(draft, Standings(observed.routers))
    settle_references(draft)
    problem = draft.base_problem or _leave_out_what_is_wrong(draft)
    if problem is not None:
        return Rendered(draft, draft.previous_text, _number_of(draft.previous), problem)
    return _numbered(draft)


def _numbered(draft: Draft) -> Rendered:
    content, before = draft.whole(), dict(draft.previous)
    number = _number_of(before)
    before.pop("generation", None)
    # A file that was written by somebody else has no number yet.
    if content == before and number > 0:
        return Rendered(draft, draft.previous_text, number)
    observed = draft.observed
    told = [one.generation for one in observed.routers]
    noted = [int(one.status.get("configurationGeneration", 0)) for one in observed.resources]
    generation = max([number, *told, *noted]) + 1
    text = yaml.safe_dump(
        {**content, "generation": generation}, sort_keys=True, allow_unicode=True, width=100
    )
    return Rendered(draft, text, generation)


def _number_of(content: dict[str, Any]) -> int:
    number = content.get("generation", 0)
    return number if isinstance(number, int) else 0


def mistake_in(content: dict[str, Any]) -> str | None:
    """Why a router would not take the file; None where it would."""
    try:
        settings = Settings.model_validate(content)
        quotas_of(settings)
    except ValidationError as error:
        return mistakes_of(error)
    except ConfigurationError as error:
        return str(error)
    return _same_keys(settings)


def _same_keys(settings: Settings) -> str | None:
    owners: dict[str, str] = {}
    for tenant, one in settings.tenants.items():
        for key in one.keys:
            secret = key.sha256 or str(key.env or key.file)
            if secret in owners:
                return f"tenants.{tenant}: key {key.name} is the same as {owners[secret]}"
            owners[secret] = f"key {key.name} of {tenant}"
    return None


def _leave_out_what_is_wrong(draft: Draft) -> str | None:
    """Take out parts that are right by themselves and do not go together.

    Returns what is wrong with the chart's values, of which nothing can be left out.
    """
    if mistake_in(draft.whole()) is None:
        return None
    wished = draft.sections
    draft.sections = {name: {} for name in SECTIONS}
    if problem := mistake_in(draft.whole()):
        return f"the chart's values: {problem}"
    verdicts = {(one.section, one.key): one for one in draft.verdicts if one.place is not Place.OUT}
    for section in SECTIONS:
        parts = [(section, key, fragment) for key, fragment in wished[section].items()]
        if section == "spaces":
            parts = [(section, key, _without_reference(one)) for _, key, one in parts]
        _admit(draft, parts, verdicts)
        if section == "targets":
            settle_references(draft)
    return None


def _admit(
    draft: Draft,
    parts: Sequence[tuple[str, str, Fragment]],
    verdicts: dict[tuple[str, str], Verdict],
) -> None:
    """Take all that go together with what is there, found by halving."""
    if not parts:
        return
    for section, key, fragment in parts:
        draft.sections[section][key] = fragment
    problem = mistake_in(draft.whole())
    if problem is None:
        return
    for section, key, _ in parts:
        del draft.sections[section][key]
    if len(parts) > 1:
        half = len(parts) // 2
        _admit(draft, parts[:half], verdicts)
        _admit(draft, parts[half:], verdicts)
        return
    section, key, fragment = parts[0]
    verdict = verdicts.get((section, key))
    if verdict is None:
        return
    verdict.refuse("Invalid", problem)
    before = refreshed(draft.before(verdict), fragment)
    draft.put(verdict, None, Place.OUT)
    if before is not None and before != fragment:
        draft.put(verdict, before, Place.KEPT)
        if mistake_in(draft.whole()) is not None:
            draft.put(verdict, None, Place.OUT)


def _without_reference(space: Fragment) -> Fragment:
    checks = {**(space.get("verification") or {})}
    checks.pop("reference", None)
    return {**space, "verification": checks}
