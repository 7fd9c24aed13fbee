"""Reads the configuration file; every mistake is one sentence with its path."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from router.config.metering import StoreSettings
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
        mistakes = [_sentence(item) for item in error.errors(include_url=False)]
        raise ConfigurationError(f"{origin}: " + "; ".join(mistakes)) from error


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
    if secret.env is not None:
        value, origin = environment.get(secret.env, ""), f"environment variable {secret.env}"
    else:
        origin = f"file {secret.file}"
        try:
            value = (secret.file or Path()).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"targets.{target}.api_key: {origin} cannot be read"
            ) from error
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"targets.{target}.api_key: {origin} holds no key")
    return value


def store_url(store: StoreSettings, environment: Mapping[str, str]) -> str:
    """Address of the database; ConfigurationError where a variable that should hold it is empty."""
    if store.url_env is None:
        return store.url
    url = environment.get(store.url_env, "")
    if not url:
        raise ConfigurationError(f"store.url_env: environment variable {store.url_env} is empty")
    return url


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
