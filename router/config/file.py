"""The configuration file as it lies on the disk: its bytes, its hash, and the files it refers to.

Contents are compared, not times: Kubernetes changes a mounted file by turning a link.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from router.config.load import parse_settings
from router.config.settings import Settings
from router.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, the bytes that it was read from, and their hash (`sha256:…`)."""

    settings: Settings
    data: bytes
    hash: str


@dataclass(frozen=True, slots=True)
class Look:
    """What lay on the disk at one moment; equal where nothing has changed.

    `data` is None where the file could not be read; `others` are hashes of the files it names.
    """

    data: bytes | None
    others: tuple[str | None, ...]


class ConfigurationFile:
    """A configuration file that is looked at again and again. Its methods read from the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._named: tuple[Path, ...] = ()

    def look(self) -> Look:
        """What is there now."""
        return self.look_beside(_read(self.path))

    def data(self) -> bytes | None:
        """The file's bytes, None where it cannot be read."""
        return _read(self.path)

    def look_beside(self, data: bytes | None) -> Look:
        """These bytes, and the files that the newest valid configuration names, as they are now."""
        return Look(data, tuple(map(_digest, self._named)))

    def load(self, data: bytes | None) -> Loaded:
        """The configuration that these bytes hold; ConfigurationError.

        The files that it names are looked at from now on, whether it will be served or not: a
        secret that is missing may come later.
        """
        loaded = loaded_from(data, str(self.path))
        self._named = tuple(_named_files(loaded.settings))
        return loaded

    def require_named(self) -> None:
        """ConfigurationError where a file that the newest valid configuration names is missing."""
        for path in self._named:
            if _read(path) is None:
                raise ConfigurationError(f"{self.path}: file {path} cannot be read")


def loaded_from(data: bytes | None, origin: str) -> Loaded:
    """The configuration that bytes hold; ConfigurationError, also where there are none."""
    if data is None:
        raise ConfigurationError(f"{origin}: cannot be read")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{origin}: is not UTF-8") from error
    return Loaded(parse_settings(text, origin), data, hash_of(data))


def hash_of(data: bytes) -> str:
    """The hash that a file of these bytes is known by."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _named_files(settings: Settings) -> Iterator[Path]:
    for tenant in settings.tenants.values():
        yield from (key.file for key in tenant.keys if key.file is not None)
    for target in settings.targets.values():
        if target.api_key is not None and target.api_key.file is not None:
            yield target.api_key.file
    for space in settings.spaces.values():
        if space.verification.reference_file is not None:
            yield space.verification.reference_file


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _digest(path: Path) -> str | None:
    data = _read(path)
    return None if data is None else hashlib.sha256(data).hexdigest()
