"""What a plan wants written, one thing at a time and in order."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from embedway_operator.names import APPLIED
from embedway_operator.observed import Object
from embedway_operator.quantities import same_amount

# Where quantities stand: under every name of these, and under these themselves.
_OF_QUANTITIES = frozenset({"requests", "limits", "overhead"})
_QUANTITY = "*"
_QUANTITIES = frozenset({"sizeLimit", "averageValue", "divisor", _QUANTITY})


@dataclass(frozen=True, slots=True)
class Apply:
    """An object to bring about by server-side apply.

    `needs` is the kind and name of another, without which it is not written in the same pass.
    """

    body: Object
    needs: tuple[str, str] | None = None

    @property
    def is_locked(self) -> bool:
        """Whether it may only be written onto what was observed."""
        return "resourceVersion" in self.body["metadata"]


@dataclass(frozen=True, slots=True)
class Delete:
    """An object of the operator's own that is not wanted any more."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class PatchStatus:
    """A resource's new status, whole."""

    kind: str
    name: str
    status: Object


@dataclass(frozen=True, slots=True)
class Emit:
    """An Event; its name is that of the transition, so that it is told once."""

    body: Object


Write = Apply | Delete | PatchStatus | Emit


def marked(body: Object) -> Object:
    """The object with a hash of itself: a field that is not wanted any more is noticed by it."""
    text = json.dumps(body, sort_keys=True)
    annotations = {
        **(body["metadata"].get("annotations") or {}),
        APPLIED: hashlib.sha256(text.encode()).hexdigest()[:16],
    }
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def applied(
    body: Object, live: Object | None, *, is_locked: bool, needs: tuple[str, str] | None = None
) -> Iterator[Apply]:
    """Nothing where it is so already. Locked: only onto what was observed, or not at all."""
    body = marked(body)
    if live is not None and not has_drifted(body, live):
        return
    if live is not None and is_locked:
        version = live["metadata"]["resourceVersion"]
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
    yield Apply(body, needs)


def has_drifted(wanted: Any, live: Any, name: str = "") -> bool:  # noqa: ANN401 - JSON
    """Whether a wanted field is missing or another; what others set beside it is theirs.

    An empty list or mapping is no more than a missing one: servers leave both out. A quantity is
    its amount: servers write it in their own way. `name` is that of the field.
    """
    if live is None and wanted in ({}, []):
        return False
    if isinstance(wanted, Mapping):
        return not isinstance(live, Mapping) or any(
            has_drifted(value, live.get(key), _QUANTITY if name in _OF_QUANTITIES else key)
            for key, value in wanted.items()
            if value is not None
        )
    if isinstance(wanted, list):
        return (
            not isinstance(live, list)
            or len(live) != len(wanted)
            or any(has_drifted(one, other) for one, other in zip(wanted, live, strict=True))
        )
    if name in _QUANTITIES and same_amount(wanted, live):
        return False
    return bool(wanted != live)
