"""Tenants with quotas in a router's configuration, and what the ledger keeps of them."""

from typing import Any

from sqlalchemy import select

from router.domain.keys import fingerprint
from router.store.tables import usage
from tests.support.router_under_test import RouterUnderTest, eventually


def key(tenant: str) -> str:
    """The only key of a tenant."""
    return f"ew-key-of-the-tenant-{tenant}"


def shown(tenant: str) -> dict[str, str]:
    """The header with that key."""
    return {"authorization": f"Bearer {key(tenant)}"}


def declared(quotas: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The section `tenants`: one for each name, with its key and these quotas."""
    return {
        name: {"keys": [{"name": "k", "sha256": fingerprint(key(name))}], "quotas": items}
        for name, items in quotas.items()
    }


def records(router: RouterUnderTest, tenant: str, count: int) -> list[dict[str, Any]]:
    """The tenant's usage records in their order, once there are that many."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        with router.app._ground.engine.connect() as connection:
            query = select(usage).where(usage.c.tenant == tenant).order_by(usage.c.time_s)
            found[:] = [dict(row) for row in connection.execute(query).mappings()]
        return len(found) >= count

    eventually(are_there)
    return found
