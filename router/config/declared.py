"""Tenants and keys of the configuration file, as administrators see them."""

from router.config.settings import Settings
from router.domain.tenants import FILE_CURSOR, KeyDescription, Source, Tenant


def declared_tenants(settings: Settings) -> dict[str, Tenant]:
    """Tenants of the file by name."""
    return {
        name: Tenant(name=name, source=Source.FILE, is_disabled=tenant.disabled)
        for name, tenant in settings.tenants.items()
    }


def declared_keys(settings: Settings) -> dict[str, list[KeyDescription]]:
    """Keys of the file by their tenant's name; a name may stand twice while a value is replaced."""
    return {
        name: [
            KeyDescription(
                id=f"{FILE_CURSOR}{name}:{key.name}",
                tenant=name,
                name=key.name,
                source=Source.FILE,
                scopes=frozenset(key.scopes),
                tags=dict(key.tags),
                expires_s=None if key.expires is None else key.expires.timestamp(),
                is_disabled=key.disabled,
            )
            for key in tenant.keys
        ]
        for name, tenant in settings.tenants.items()
    }
