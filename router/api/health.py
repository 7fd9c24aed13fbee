"""Whether the router lives, and whether it would serve."""

from collections.abc import Callable

import orjson

from router.api.exchange import Exchange, Reply
from router.service import EmbeddingService


class HealthDoor:
    """`GET /health/live`, `/health/accepting` and `/health/ready`; they need no key."""

    def __init__(
        self,
        service: EmbeddingService,
        is_draining: Callable[[], bool],
        knows_targets: Callable[[], bool],
    ) -> None:
        """`is_draining`: it is on its way out; `knows_targets`: each was asked how it is."""
        self._service = service
        self.is_draining = is_draining
        self._knows_targets = knows_targets

    def is_ready(self) -> bool:
        """Whether at least one route would be served and the router is not draining."""
        return not self.is_draining() and any(map(self._service.is_route_ready, self._routes()))

    async def live(self, exchange: Exchange) -> Reply:
        """200 as long as the process answers at all."""
        del exchange
        return Reply(200, b'{"status":"live"}')

    async def accepting(self, exchange: Exchange) -> Reply:
        """200 where this router takes requests, whatever its targets' state; else 503.

        For load balancers: with no target up, clients get 503 with Retry-After from a router and
        not a refused connection. A fresh router that has asked no target yet would refuse what
        another could serve.
        """
        del exchange
        if self._knows_targets() and not self.is_draining():
            return Reply(200, b'{"status":"accepting"}')
        state = "draining" if self.is_draining() else "starting"
        return Reply(503, orjson.dumps({"status": state}), headers=[(b"retry-after", b"1")])

    async def ready(self, exchange: Exchange) -> Reply:
        """200 where a route would be served, else 503; the routes one by one in the body."""
        del exchange
        routes = {name: self._service.is_route_ready(name) for name in self._routes()}
        ready = self.is_ready()
        state = "ready" if ready else "draining" if self.is_draining() else "not ready"
        headers = [] if ready else [(b"retry-after", b"1")]
        return Reply(
            200 if ready else 503,
            orjson.dumps({"status": state, "routes": routes}),
            headers=headers,
        )

    def _routes(self) -> list[str]:
        return list(self._service.routes)
