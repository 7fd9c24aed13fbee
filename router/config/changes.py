"""Which changes of the configuration a running router can take, and which it has to refuse."""

from collections.abc import Iterator

from router.config.settings import Settings
from router.domain.errors import ConfigurationError

# What is built once: listening ends, the store, the memory of keys, what telemetry is sent to.
_FIXED = {
    "server": ("host", "port", "grpc_port", "workers", "max_body_bytes"),
    "authentication": ("max_known_keys", "max_unknown_keys", "max_staleness_s"),
}
_FIXED_SECTIONS = ("store", "telemetry")
# What makes the vectors of a space what they are.
_IDENTITY = (
    "model", "revision", "dimensions", "lowercase", "prompts", "default_instruction",
    "provider_input_types",
)  # fmt: skip


def require_reloadable(before: Settings, after: Settings) -> None:
    """ConfigurationError, one sentence, where `after` cannot take the place of `before`.

    A file is served as a whole or not at all, so one such change refuses all of it.
    """
    for path in _fixed_changes(before, after):
        raise ConfigurationError(f"{path} cannot change while the router runs: restart it")
    for name, space in after.spaces.items():
        known = before.spaces.get(name)
        if known is None:
            continue
        for field in _IDENTITY:
            if getattr(known, field) != getattr(space, field):
                raise ConfigurationError(
                    f"spaces.{name}.{field} says which vectors these are, and clients hold some: "
                    "give the new space a name of its own"
                )


def _fixed_changes(before: Settings, after: Settings) -> Iterator[str]:
    for section, fields in _FIXED.items():
        old, new = getattr(before, section), getattr(after, section)
        for field in fields:
            if getattr(old, field) != getattr(new, field):
                yield f"{section}.{field}"
    for section in _FIXED_SECTIONS:
        if getattr(before, section) != getattr(after, section):
            yield section
