"""What is said of each resource: conditions, and the events that tell of their changes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedway_operator.draft import Place, Verdict
from embedway_operator.names import SECRETS_FOLDER
from embedway_operator.observed import Object, Observed, Resource, configuration_hash
from embedway_operator.rendering import Rendered
from embedway_operator.standing import Standings

MOST_SAID = 500


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition before it is known when it began."""

    type: str
    status: str
    reason: str
    message: str


class Acknowledgement:
    """Which configuration the ready routers serve."""

    def __init__(self, observed: Observed, rendered: Rendered) -> None:
        """`rendered` is what they should serve; it may not be written yet."""
        self._ready = [one for one in observed.routers if one.is_ready]
        self.generation = rendered.generation
        self.problem = rendered.problem
        # The Secret comes first: without it the configuration is not even tried.
        names = observed.installation
        places = ("Secret", names.secrets), ("ConfigMap", names.config)
        self._refusals = [
            f"{kind} {name}: {observed.refusals[kind, name]}"
            for kind, name in places
            if (kind, name) in observed.refusals
        ]
        self._wanted = None if rendered.text is None else configuration_hash(rendered.text)

    @property
    def is_complete(self) -> bool:
        """Whether there are ready routers and each serves it, with nothing pending."""
        return bool(self._ready) and all(one.hash == self._wanted for one in self._ready)

    def reaches(self, generation: int) -> bool:
        """Whether every ready router serves this number or a later one."""
        return bool(self._ready) and all(
            one.hash is not None and one.generation >= generation for one in self._ready
        )

    def missing(self) -> tuple[str, str]:
        """Reason and sentence why it is not complete."""
        if self.problem is not None:
            return "ConfigurationInvalid", self.problem
        if self._refusals:
            return "WriteRefused", "; ".join(self._refusals)
        if not self._ready:
            return "NoRouters", "no router is ready"
        behind = [one for one in self._ready if one.hash != self._wanted]
        refused = [
            f"{one.pod}: {one.pending_error}"
            for one in behind
            if one.pending_error and not waits_for_mount(one.pending_error)
        ]
        if refused:
            return "RouterRefused", "; ".join(refused)
        waiting = ", ".join(one.pod for one in behind)
        told = f"generation {self.generation} is not served yet by {waiting}"
        late = [f"{one.pod}: {one.pending_error}" for one in behind if one.pending_error]
        return "Pending", "; ".join([told, *late])


def waits_for_mount(sentence: str) -> bool:
    """Whether a router misses a file of the mounted Secret, which its kubelet is yet to bring."""
    return f"file {SECRETS_FOLDER}/" in sentence and sentence.endswith("cannot be read")


def fragment_digest(fragment: object) -> str:
    """Short hash of a part of the file."""
    text = json.dumps(fragment, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def accepted(verdict: Verdict) -> Condition:
    """Whether its wish is valid and goes together with all others."""
    return Condition(
        "Accepted", _word(verdict.accepted), verdict.reason, verdict.message[:MOST_SAID]
    )


def resolved(verdict: Verdict) -> Condition:
    """Whether everything that it refers to is there."""
    if verdict.unresolved:
        names = "; ".join(verdict.unresolved)[:MOST_SAID]
        return Condition("ResolvedRefs", "False", "NotFound", f"missing or not taken: {names}")
    return Condition("ResolvedRefs", "True", "Resolved", "all that it refers to is there")


def programmed(
    verdict: Verdict, rendered: Rendered, acknowledgement: Acknowledgement
) -> tuple[Condition, Object]:
    """Whether every ready router serves its present wish, and marks that remember since when."""
    marks = _marks(verdict.resource)
    if verdict.place is not Place.CURRENT:
        goes_on = verdict.place is Place.KEPT
        message = (
            "routers go on with what was accepted before" if goes_on else "routers do not have it"
        )
        return Condition(
            "Programmed", "False", "LastGood" if goes_on else "NotAccepted", message
        ), (marks)
    fragment = rendered.draft.sections[verdict.section].get(verdict.key)
    return serving(verdict.resource, fragment, acknowledgement)


def _marks(resource: Resource) -> Object:
    status = resource.status
    return {
        name: status[name]
        for name in ("configurationGeneration", "configurationHash")
        if name in status
    }


def serving(
    resource: Resource, fragment: object, acknowledgement: Acknowledgement
) -> tuple[Condition, Object]:
    """Whether every ready router serves a part of the file, and marks that remember since when."""
    marks, digest = _marks(resource), fragment_digest(fragment)
    is_known = marks.get("configurationHash") == digest
    if is_known and acknowledgement.reaches(int(marks.get("configurationGeneration", 0))):
        return _served(marks), marks
    if acknowledgement.is_complete and acknowledgement.problem is None:
        marks = {
            "configurationGeneration": acknowledgement.generation,
            "configurationHash": digest,
        }
        return _served(marks), marks
    reason, message = acknowledgement.missing()
    return Condition("Programmed", "False", reason, message[:MOST_SAID]), marks


def _served(marks: Mapping[str, Any]) -> Condition:
    number = marks["configurationGeneration"]
    return Condition(
        "Programmed",
        "True",
        "Programmed",
        f"every ready router serves it since generation {number}",
    )


def verified(
    space: str, targets: Sequence[str], standings: Standings, *, is_checked: bool
) -> Condition:
    """Whether routers have seen vectors of all these targets, and found them to be of their space.

    `is_checked` is whether the space asks for it at all.
    """
    by_word: dict[str, list[str]] = {}
    for name in targets:
        by_word.setdefault(standings.seen(name), []).append(name)
    for word, status, reason, told in (
        ("quarantined", "False", "VectorSpaceMismatch", "its vectors are not of"),
        ("unverified", "Unknown", "Pending", "not compared yet with"),
        ("untold", "Unknown", "NotTold", "routers do not tell of"),
        (
            "trusted",
            "Unknown",
            "NotMeasured" if is_checked else "VerificationOff",
            "trusted, and no vectors were seen yet, as of"
            if is_checked
            else "trusted, because verification is off, as of",
        ),
    ):
        if word in by_word:
            names = ", ".join(by_word[word])[:MOST_SAID]
            return Condition("SpaceVerified", status, reason, f"{told} {space}: {names}")
    if not targets:
        return Condition("SpaceVerified", "Unknown", "NoTargets", f"nothing serves {space}")
    return Condition("SpaceVerified", "True", "Verified", f"vectors are of {space}")


def dated(resource: Resource, conditions: Sequence[Condition], now: str) -> list[Object]:
    """Conditions as a status holds them; a time stands until the status changes."""
    before = {one["type"]: one for one in resource.status.get("conditions") or []}
    written = []
    for one in conditions:
        old = before.get(one.type, {})
        since = old.get("lastTransitionTime", now) if old.get("status") == one.status else now
        written.append(
            {
                "type": one.type,
                "status": one.status,
                "reason": one.reason,
                "message": one.message,
                "observedGeneration": resource.generation,
                "lastTransitionTime": since,
            }
        )
    return written


def _word(is_so: bool) -> str:
    return "True" if is_so else "False"
