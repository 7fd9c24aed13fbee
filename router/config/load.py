"""Reads the configuration file; every mistake is one sentence with its path."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from router.config.metering import StoreSettings
from router.config.routing import SharedCacheSettings
from router.config.section import SecretSettings
from router.config.settings import KeySettings, Settings
from router.domain.errors import ConfigurationError

# Short keys can be guessed from their hash.
MIN_KEY_LENGTH = 16


def load_settings(path: Path) -> Settings:
    """Settings of a YAML file; ConfigurationError names the file, the path and the mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {_first_line(error)}") from error
    return parse_settings(text, origin=str(path))


def parse_settings(text: str, origin: str) -> Settings:
    """Settings of YAML text; `origin` names the text in errors."""
    try:
        # A SafeLoader, made stricter about keys that stand twice.
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{origin}: is not valid YAML: {_yaml_problem(error)}") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{origin}: must hold a mapping with spaces, targets, routes, …")
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {mistakes_of(error)}") from error


def mistakes_of(error: ValidationError) -> str:
    """What is wrong, each with its path."""
    return "; ".join(_sentence(item) for item in error.errors(include_url=False))


def key_secret(key: KeySettings, environment: Mapping[str, str]) -> str:
    """The secret that an `env` or `file` key names; ConfigurationError if it is not there."""
    if key.env is not None:
        secret = environment.get(key.env, "")
        origin = f"environment variable {key.env}"
    elif key.file is not None:
        origin = f"file {key.file}"
        try:
            secret = key.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"key {key.name}: {origin} cannot be read") from error
    else:
        raise ConfigurationError(f"key {key.name}: has no secret, only its hash")
    if len(secret) < MIN_KEY_LENGTH:
        raise ConfigurationError(
            f"key {key.name}: {origin} must hold at least {MIN_KEY_LENGTH} characters, "
            f"it holds {len(secret)}"
        )
    return secret


def provider_secret(target: str, secret: SecretSettings, environment: Mapping[str, str]) -> str:
    """A provider's key; ConfigurationError, without a word of it, if it is not there."""
    return _secret(f"targets.{target}.api_key", secret, environment)


def secret_headers(
    path: str, headers: Mapping[str, SecretSettings], environment: Mapping[str, str]
) -> dict[str, str]:
    """Headers with their values; ConfigurationError, without a word of them, if one is missing."""
    return {
        name: _secret(f"{path}.{name}", secret, environment) for name, secret in headers.items()
    }


def _secret(path: str, secret: SecretSettings, environment: Mapping[str, str]) -> str:
    value, origin = _read(path, secret, environment)
    if not value or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"{path}: {origin} holds no key")
    return value


def store_url(store: StoreSettings, environment: Mapping[str, str]) -> str:
    """Address of the database; ConfigurationError where what should hold it does not."""
    if store.url_file is not None:
        try:
            url = store.url_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"store.url_file: {store.url_file} cannot be read") from error
        origin = f"store.url_file: {store.url_file}"
    elif store.url_env is not None:
        url = environment.get(store.url_env, "")
        origin = f"store.url_env: environment variable {store.url_env}"
    else:
        return store.url
    if not url:
        raise ConfigurationError(f"{origin} is empty")
    return url


def shared_cache_url(shared: SharedCacheSettings, environment: Mapping[str, str]) -> str:
    """Address of the shared cache; ConfigurationError, without a word of it, where it is none."""
    if shared.url_env is None:
        return shared.url or ""
    url = environment.get(shared.url_env, "").strip()
    if not re.fullmatch(r"(rediss?|unix)://\S+", url):
        raise ConfigurationError(
            f"cache.shared.url_env: environment variable {shared.url_env} holds no address that "
            "begins with redis://, rediss:// or unix://"
        )
    return url


def shared_cache_secret(shared: SharedCacheSettings, environment: Mapping[str, str]) -> bytes:
    """The routers' secret, b"" where there is none; ConfigurationError, without a word of it."""
    if shared.secret is None:
        return b""
    value, origin = _read("cache.shared.secret", shared.secret, environment)
    if len(value) < MIN_KEY_LENGTH:
        raise ConfigurationError(
            f"cache.shared.secret: {origin} must hold at least {MIN_KEY_LENGTH} characters"
        )
    return value.encode()


def _read(setting: str, secret: SecretSettings, environment: Mapping[str, str]) -> tuple[str, str]:
    """A secret, and where it is kept; ConfigurationError where it cannot be read."""
    if secret.env is not None:
        return environment.get(secret.env, "").strip(), f"environment variable {secret.env}"
    origin = f"file {secret.file}"
    try:
        return (secret.file or Path()).read_text(encoding="utf-8").strip(), origin
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{setting}: {origin} cannot be read") from error


class _StrictLoader(yaml.SafeLoader):
    """YAML where a key that stands twice is an error: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return _first_line(error)


def _sentence(item: Any) -> str:  # noqa: ANN401 - pydantic's own TypedDict
    path = ".".join(str(part) for part in item["loc"] if part != "[key]")
    problem = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        problem = "is not a setting"
    return f"{path}: {problem}" if path else problem


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
