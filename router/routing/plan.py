"""Which targets of a route to try, in which order."""

from collections.abc import Callable

from router.domain.errors import UpstreamUnavailableError
from router.domain.types import Route


def candidates(route: Route, is_ready: Callable[[str], bool]) -> list[str]:
    """Names of the ready targets in the route's order; UpstreamUnavailableError if none is."""
    ready = [name for name in route.targets if is_ready(name)]
    if not ready:
        raise UpstreamUnavailableError(
            f"no target of {route.name} is ready: it is starting or down, try again soon"
        )
    return ready
