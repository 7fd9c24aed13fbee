"""Looks at everything that a plan is made from. A look is whole, or there is none."""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from embedway_operator.draft_targets import secret_references
from embedway_operator.errors import ClusterError
from embedway_operator.names import MANAGER, OVERLAP_TEMPLATE_KEY, TEMPLATE_KEY, Installation
from embedway_operator.observed import Object, Observed, Resource, RouterReport
from embedway_operator.paths import lacking
from router.config.resources import KINDS
from router.domain.clock import Clock

CHILDREN = (
    "Deployment",
    "Service",
    "PersistentVolumeClaim",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "PodDisruptionBudget",
)
# Kinds that a cluster may do without. Any other is there, or the API server does not serve it now,
# which says nothing of how many there are.
_MAY_BE_ABSENT = frozenset({"HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget"})


class Reader(Protocol):
    """What looking needs of a cluster; both raise ClusterError."""

    async def get(self, kind: str, name: str) -> Object | None:
        """One object; None where it is not there."""
        ...

    async def list(self, kind: str, selector: str = "") -> list[Object] | None:
        """All objects of a kind; None where the cluster has no such kind."""
        ...


class RouterReports(Protocol):
    """Who asks the routers."""

    async def reports(self, pods: Sequence[Object]) -> tuple[RouterReport, ...]:
        """What each pod answers."""
        ...


class Observer:
    """Reads one installation."""

    def __init__(
        self, cluster: Reader, routers: RouterReports, installation: Installation, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._routers = routers
        self._installation = installation
        self._clock = clock

    async def look(self) -> Observed:
        """The cluster now; ClusterError where any part of it cannot be read."""
        names = self._installation
        kinds = [kind.name for kind in KINDS]
        declared = await asyncio.gather(*(self._all(kind) for kind in kinds))
        resources = tuple(Resource(one) for found in declared for one in found or [])
        made = ",".join([names.selector("triton"), f"app.kubernetes.io/managed-by={MANAGER}"])
        children = await asyncio.gather(*(self._all(kind, made) for kind in CHILDREN))
        base, templates, config, secrets = await asyncio.gather(
            self._cluster.get("ConfigMap", names.base),
            self._cluster.get("ConfigMap", names.templates),
            self._cluster.get("ConfigMap", names.config),
            self._cluster.get("Secret", names.secrets),
        )
        pods, jobs, job_pods = await asyncio.gather(
            self._all("Pod", names.selector("router")),
            self._all("Job", names.selector("overlap")),
            self._all("Pod", names.selector("overlap")),
        )
        texts = (templates or {}).get("data") or {}
        return Observed(
            installation=names,
            now=_rfc3339(self._clock.wall_s()),
            resources=resources,
            base=base,
            pod_template=texts.get(TEMPLATE_KEY),
            overlap_template=texts.get(OVERLAP_TEMPLATE_KEY),
            config=config,
            router_secrets=secrets,
            secrets=await self._secrets(resources),
            children=tuple(one for found in children for one in found or []),
            jobs=tuple(jobs or []),
            job_pods=tuple(job_pods or []),
            routers=await self._routers.reports(pods or []),
            absent_kinds=frozenset(
                kind for kind, found in zip(CHILDREN, children, strict=True) if found is None
            ),
        )

    async def _all(self, kind: str, selector: str = "") -> list[Object] | None:
        """All objects of a kind; None where the cluster does without it."""
        found = await self._cluster.list(kind, selector)
        if found is None and kind not in _MAY_BE_ABSENT:
            raise ClusterError(f"{lacking(kind)}: nothing is taken for deleted", 404)
        return found

    async def _secrets(
        self, resources: Sequence[Resource]
    ) -> dict[str, Mapping[str, bytes] | None]:
        """Only those that resources refer to, by name: no right to list Secrets is needed."""
        names = sorted(
            {
                str(reference["name"])
                for one in resources
                if not one.is_deleted
                for reference in secret_references(one)
            }
        )
        found = await asyncio.gather(*(self._cluster.get("Secret", name) for name in names))
        return {name: _values(one) for name, one in zip(names, found, strict=True)}


def _values(secret: Object | None) -> dict[str, bytes] | None:
    if secret is None:
        return None
    values = {}
    for name, value in (secret.get("data") or {}).items():
        try:
            values[name] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            continue
    return values


def _rfc3339(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
