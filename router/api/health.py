"""Whether the router lives, and whether it would serve."""

from collections.abc import Callable

import orjson

from router.api.exchange import Exchange, Reply
from router.service import EmbeddingService


class HealthDoor:
    """`GET /health/live` and `GET /health/ready`; they need no key."""

    def __init__(self, service: EmbeddingService, is_draining: Callable[[], bool]) -> None:
        """`is_draining` tells whether the router is on its way out."""
        self._service = service
        self._is_draining = is_draining

    def is_ready(self) -> bool:
        """Whether at least one route would be served and the router is not draining."""
        return not self._is_draining() and any(map(self._service.is_route_ready, self._routes()))

    async def live(self, exchange: Exchange) -> Reply:
        """200 as long as the process answers at all."""
        del exchange
        return Reply(200, b'{"status":"live"}')

    async def ready(self, exchange: Exchange) -> Reply:
        """200 where a route would be served, else 503; the routes one by one in the body."""
        del exchange
        routes = {name: self._service.is_route_ready(name) for name in self._routes()}
        ready = self.is_ready()
        state = "ready" if ready else "draining" if self._is_draining() else "not ready"
        headers = [] if ready else [(b"retry-after", b"1")]
        return Reply(
            200 if ready else 503,
            orjson.dumps({"status": state, "routes": routes}),
            headers=headers,
        )

    def _routes(self) -> list[str]:
        return list(self._service.routes)
