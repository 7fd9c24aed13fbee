"""Which configuration is in force: what the operator asks before it says that a change is done."""

from collections.abc import Callable
from dataclasses import asdict

import orjson

from router.api.exchange import Exchange, Reply
from router.domain.serving import ServedByAll


class ConfigurationDoor:
    """`GET /health/configuration`; it needs no key and says nothing that would deserve one."""

    def __init__(self, served: Callable[[], ServedByAll]) -> None:
        """`served` tells of all workers together."""
        self._served = served

    async def served(self, exchange: Exchange) -> Reply:
        """Its number, its hash, why a newer one is not served, and how each target stands."""
        del exchange
        told = self._served()
        answer = {
            "generation": told.served.generation,
            "hash": told.served.hash,
            "pending_error": told.served.pending_error,
            "targets": {name: asdict(one) for name, one in sorted(told.served.targets.items())},
            "workers": {"serving": told.serving, "of": told.workers},
        }
        return Reply(200, orjson.dumps(answer))
