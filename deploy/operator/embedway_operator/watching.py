"""kopf's watches: they only say that something has changed, and the reconciler looks itself.

So nothing is lost with an event, and no state of kopf's own is written to any object: no finalizer,
no annotation, no peering.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import kopf

from embedway_operator.credentials import login
from embedway_operator.names import MANAGER, Installation
from router.config.resources import GROUP, KINDS, VERSION

if TYPE_CHECKING:
    from kopf._core.engines.peering import Identity


def watch(installation: Installation, ring: Callable[[], object], stop: threading.Event) -> None:
    """Ring at every change until it is told to stop; blocks, with an event loop of its own."""
    asyncio.run(
        kopf.operator(
            registry=registry_of(installation, ring),
            settings=settings_of_watches(),
            namespaces=[installation.namespace],
            # It would look for the user's name, and a pod's user may have none.
            identity=cast("Identity", MANAGER),
            standalone=True,
            stop_flag=stop,
        )
    )


def settings_of_watches() -> kopf.OperatorSettings:
    """Kopf with nothing switched on but its watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # No right to look at the cluster's resource definitions or namespaces is needed.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.process.ultimate_exiting_timeout = 10
    settings.networking.request_timeout = 30
    return settings


def registry_of(installation: Installation, ring: Callable[[], object]) -> kopf.OperatorRegistry:
    """A handler for each kind that is watched, all of them the same."""
    registry = kopf.OperatorRegistry()

    async def changed(**_: Any) -> None:  # noqa: ANN401 - kopf's own
        ring()

    def proven(**_: Any) -> kopf.ConnectionInfo:  # noqa: ANN401 - kopf's own
        return login()

    kopf.on.login(registry=registry)(proven)
    for kind in KINDS:
        kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)(changed)
    made: Mapping[str, Any] = {
        **installation.labels("triton"), "app.kubernetes.io/managed-by": MANAGER
    }  # fmt: skip
    kopf.on.event("apps", "v1", "deployments", labels=made, registry=registry)(changed)
    measuring: Mapping[str, Any] = installation.labels("overlap")
    kopf.on.event("batch", "v1", "jobs", labels=measuring, registry=registry)(changed)
    routers: Mapping[str, Any] = installation.labels("router")
    kopf.on.event("", "v1", "pods", labels=routers, registry=registry)(changed)
    names = {installation.base, installation.templates, installation.config}

    def is_ours(name: str | None, **_: Any) -> bool:  # noqa: ANN401 - kopf's own
        return name in names

    kopf.on.event("", "v1", "configmaps", when=is_ours, registry=registry)(changed)
    return registry
