"""What the operator saw at one moment: all that a plan is made from, and nothing else."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedway_operator.names import Installation

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A custom resource as the API server has it."""

    raw: Object

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.raw["kind"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.raw["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Its uid; another one under the same name is another resource."""
        return str(self.raw["metadata"].get("uid", ""))

    @property
    def generation(self) -> int:
        """Number of its spec."""
        return int(self.raw["metadata"].get("generation", 0))

    @property
    def age(self) -> tuple[str, str]:
        """Sorts older resources before younger ones."""
        return str(self.raw["metadata"].get("creationTimestamp", "")), self.name

    @property
    def is_deleted(self) -> bool:
        """Whether it is on its way out."""
        return "deletionTimestamp" in self.raw["metadata"]

    @property
    def spec(self) -> Object:
        """What is wanted."""
        return dict(self.raw.get("spec") or {})

    @property
    def status(self) -> Object:
        """What was last said of it."""
        return dict(self.raw.get("status") or {})


@dataclass(frozen=True, slots=True)
class RouterReport:
    """What a router pod answered; `hash` is None where it did not answer.

    `standings` by target is None where the router says nothing of targets. `up` are the targets
    that it may call, `measured` those of which it has seen vectors of the golden texts; None where
    the router, of an earlier release, does not tell.
    """

    pod: str
    is_ready: bool
    hash: str | None = None
    generation: int = 0
    pending_error: str | None = None
    standings: Mapping[str, str] | None = None
    up: frozenset[str] | None = None
    measured: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """The cluster at one moment.

    `secrets` holds the values of every Secret that a resource refers to, None where it is missing.
    `children` are the objects that the operator once made for models. `now` is RFC 3339.
    `jobs` are its measurements of migrations, `job_pods` the pods of them.
    `absent_kinds` are those of `children` that this cluster does without. `refusals` are the API
    server's sentences on what it did not take, by kind and name of the object.
    """

    installation: Installation
    now: str
    resources: tuple[Resource, ...] = ()
    base: Object | None = None
    pod_template: str | None = None
    overlap_template: str | None = None
    config: Object | None = None
    router_secrets: Object | None = None
    secrets: Mapping[str, Mapping[str, bytes] | None] = field(default_factory=dict)
    children: tuple[Object, ...] = ()
    jobs: tuple[Object, ...] = ()
    job_pods: tuple[Object, ...] = ()
    routers: tuple[RouterReport, ...] = ()
    absent_kinds: frozenset[str] = frozenset()
    refusals: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def of_kind(self, *kinds: str) -> list[Resource]:
        """Resources of these kinds, oldest first."""
        return sorted((one for one in self.resources if one.kind in kinds), key=lambda o: o.age)


def configuration_hash(text: str) -> str:
    """As a router tells it of the file that it serves."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
